"""Scores a model: `python -m tfseg.eval --model=runs/shapes/best --dataset=shapes`."""

from absl import flags

from tfseg import cli
from tfseg.config.commands import EvalConfig


def main(_):
    config = cli.config_from_flags(EvalConfig)
    run = cli.import_quietly("tfseg.evaluation.run")  # only now: it loads TensorFlow
    run.run_evaluation(config)


if __name__ == "__main__":
    cli.define_eval_flags()
    flags.adopt_module_key_flags(cli)
    cli.run(main)
