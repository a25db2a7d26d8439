"""The roof: reads both wings and says where they agree."""

import shared as shared  # first of all, see there
