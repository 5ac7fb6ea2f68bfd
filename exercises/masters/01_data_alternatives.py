"""Right answers to the exercises of 01_data that differ from the reference.

Each cell is the whole solution cell of a question, with what is different as its title. It must earn full marks.
"""

# ruff: noqa: F811, F841, RUF059
