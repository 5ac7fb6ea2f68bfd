"""The exercises of chapters/04_architecture."""

from master_tests import MasterTests


class TestMaster(MasterTests):
    name = "04_architecture"
