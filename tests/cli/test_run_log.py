"""What the package logs goes to standard output without a prefix."""


def test_messages_of_tfseg_go_to_stdout(run_code):
    code = """
import logging
from tfseg import cli
def main(argv):
    logging.getLogger("tfseg.training.run").info("epoch %d", 3)
    logging.getLogger("tfseg.training.run").debug("hidden")
cli.run(main)
"""
    result = run_code(code)
    assert (result.stdout, result.stderr) == ("epoch 3\n", "")
