"""Exercises: masters, the students' notebooks made from them, and the grader."""
