"""Whether Lightning is slower, where its time goes, and what the input costs."""
