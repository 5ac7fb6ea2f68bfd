"""The exercises of chapters/02_tokenization."""

from master_tests import MasterTests


class TestMaster(MasterTests):
    name = "02_tokenization"
