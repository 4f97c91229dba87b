"""Evaluates a model: `python -m tfseg.eval --model=runs/shapes/best --dataset=shapes`."""

from tfseg import cli, evaluation
from tfseg.config.commands import EvalConfig


def main(_):
    config = cli.config_from_flags(EvalConfig)
    evaluation.run_evaluation(config)


if __name__ == "__main__":
    cli.define_eval_flags()
    cli.run(main)
