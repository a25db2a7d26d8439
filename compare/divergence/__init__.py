"""Find the first step where two recorded runs differ, and say why."""
