"""The lessons: a page of text for each, what each costs, and a picture of the first."""
