"""Tools for the lessons: what each costs, and how they keep up with train.py."""
