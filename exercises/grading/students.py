"""`python -m exercises.grading.students`: make the students' notebooks from the masters."""

from .masters import FOLDER, write_students

if __name__ == "__main__":
    for path in write_students():
        print(path.relative_to(FOLDER.parent))
