"""The pages: a template each, filled with its contents."""

import os
import tomllib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from compare.lessons.costs import HALVES, ROOT
from compare.site.code import is_folded, rows, section
from compare.site.contents import (
    SYMPTOMS,
    Lesson,
    all_lessons,
    exercises,
    page,
    plots,
    removed,
    result,
    speed,
)
from compare.site.names import all_names
from compare.site.text import first_paragraph, inline, markdown, repository, source

HERE = Path(__file__).parent


class Site:
    """Writes the pages into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lessons = all_lessons()
        self.names = [lesson.name for lesson in self.lessons]
        self.exercises = exercises()
        self.set_in: dict[str, list[str]] = tomllib.loads(
            (HERE / "exercises.toml").read_text("utf-8")
        )
        self.languages: dict[str, dict[str, str]] = tomllib.loads(
            (HERE / "languages.toml").read_text("utf-8")
        )
        self.environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters.update(
            markdown=self.markdown, inline=inline, source=source
        )
        self.environment.globals.update(
            lessons=self.lessons,
            halves=HALVES,
            repository=repository(),
            site_url=os.environ.get("SITE_URL", ""),
            is_folded=is_folded,
            languages=self.languages,
            lang="en",
            say=self.languages["en"],
        )

    def markdown(self, text: str, folder: str = "compare/lessons") -> str:
        """Return Markdown as HTML with links to the site's own pages."""
        return markdown(text, folder, self.names)

    def write(self, path: str, template: str, **content: Any) -> None:
        """Write a page."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        root = "../" * path.count("/")
        html = self.environment.get_template(template).render(
            path=path, root=root, **content
        )
        target.write_text(html, encoding="utf-8")

    def write_all(self) -> None:
        """Write every page."""
        names = all_names()
        loop = section(2, rows("train"))
        for lang, say in self.languages.items():
            self.write(
                say["page"], "start.html", lang=lang, say=say, rows=loop, names=names
            )
        self.write("names.html", "names.html", names=names)
        for lesson in self.lessons:
            self.write_lesson(lesson)
        self.write_cases()
        self.write("legacy.html", "legacy.html", removed=removed())
        text = page("speed").partition("\n")[2]
        self.write("speed.html", "speed.html", text=text, steps=speed())

    def write_lesson(self, lesson: Lesson) -> None:
        """Write the page of a lesson."""
        text = page(lesson.name).partition("\n")[2]
        intro, fence, rest = text.partition("```console")
        computed = result(lesson.name)
        place = self.names.index(lesson.name)
        self.write(
            f"{lesson.name}.html",
            "lesson.html",
            lesson=lesson,
            description=first_paragraph(page(lesson.name)),
            intro=intro,
            text=fence + rest,
            rows=rows(lesson.name),
            result=computed,
            plots=list(plots(computed)) if computed else [],
            exercises=[
                self.exercises[name]
                for name in self.set_in.get(lesson.name, [])
                if name in self.exercises
            ],
            before=self.names[place - 1] if place else None,
            after=self.names[place + 1] if place + 1 < len(self.names) else None,
        )

    def write_cases(self) -> None:
        """Write the field guide, and a page for each of its cases."""
        cases = sorted(
            self.exercises.values(), key=lambda case: [*SYMPTOMS].index(case.quantity)
        )
        reasons = (ROOT / "compare/clinic/README.md").read_text("utf-8")
        self.write(
            "why.html",
            "why.html",
            symptoms=SYMPTOMS,
            cases=cases,
            reasons=reasons.partition("\n")[2].partition("## The clinic")[0],
        )
        for number, case in enumerate(cases):
            self.write(
                f"why/{case.name}.html",
                "case.html",
                case=case,
                symptom=SYMPTOMS[case.quantity],
                used_in=[
                    lesson for lesson in self.names if case.name in self.set_in[lesson]
                ],
                before=cases[number - 1].name if number else None,
                after=cases[number + 1].name if number + 1 < len(cases) else None,
            )
