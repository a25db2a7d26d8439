"""What reads both halves, or any two training runs, and says where they part."""

import shared as shared  # first of all, see there
