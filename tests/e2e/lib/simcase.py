"""What the tests of the simulator itself share."""
import unittest

from .raw import Dns, Smtp
from .sim import Simulator

BASE = """
cluster "EUR01" { form = "old"  site = "DB5"  addresses = {"127.1.1.1-8"} }
cluster "EUR05" { form = "new"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-8"} }
tenant "t{0..99999}.example" { cluster = {"EUR01"} }
tenant "n{0..99}.example" { cluster = {"EUR05"}  mx = {"mx.microsoft"} }
"""
OLD, NEW = "127.1.1.1", "127.1.5.1"
TO_OLD, TO_NEW = "user@t1.example", "user@n1.example"


class SimCase(unittest.TestCase):
    """One simulator a class; what a test needs beside it is its own."""

    scenario = BASE
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.sim = cls.enterClassContext(Simulator(cls.scenario, **cls.options))
        cls.dns = Dns(cls.sim.dns)

    def setUp(self):
        self.sim.reset()

    def smtp(self, host=OLD, sim=None, **options):
        connection = Smtp(host, (sim or self.sim).smtp_port, **options)
        self.addCleanup(connection.close)
        return connection

    def another(self, scenario, **options):
        return self.enterContext(Simulator(scenario, **options))

    def codes(self, replies):
        return [r.code for r in replies]

    def violation_kinds(self):
        return self.sim.violations()["kinds"]
