"""The grader of the exercises: see `python -m exercises.grading --help`, and the page for instructors in the book."""
