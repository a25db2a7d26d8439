"""What each lesson costs in the two halves, counted from the syntax tree."""
