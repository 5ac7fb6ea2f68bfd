"""The exercises of chapters/03_attention."""

from master_tests import MasterTests


class TestMaster(MasterTests):
    name = "03_attention"
