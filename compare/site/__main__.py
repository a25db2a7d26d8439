"""Make the site: static pages that a browser opens from the disk.

python -m compare.site --output-dir output/site
"""

import argparse
import shutil
from pathlib import Path

from compare.site.pages import HERE, Site
from compare.site.stale import LESSONS, RESULTS


def main() -> None:
    """Write all pages, and what they show."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.site",
        description="Make the site: static pages that a browser opens from the disk.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--output-dir", type=Path, default=Path("output/site"), help="the pages' folder"
    )
    folder: Path = parser.parse_args().output_dir
    build(folder)
    print(f"Open {folder / 'index.html'}")


def build(folder: Path) -> None:
    """Write the site into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "static", folder, dirs_exist_ok=True)
    for picture in [*LESSONS.glob("*.png"), RESULTS / "sizes.svg"]:
        (folder / "pictures").mkdir(exist_ok=True)
        shutil.copy(picture, folder / "pictures")
    Site(folder).write_all()


if __name__ == "__main__":
    main()
