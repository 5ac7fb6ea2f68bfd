"""The exercises of chapters/01_data."""

from master_tests import MasterTests


class TestMaster(MasterTests):
    name = "01_data"
