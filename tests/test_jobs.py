"""The job files in jobs/ parse, start tfseg with real flags, and set a TF_CONFIG that it takes."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from absl import flags

from tfseg import cli
from tfseg.config import TrainConfig
from tfseg.training import cluster

ROOT = Path(__file__).parents[1]
SLURM, KUBERNETES = (ROOT / "jobs" / name for name in ("slurm.sbatch", "kubernetes.yaml"))
# Stands for the training: prints the TF_CONFIG that it gets.
PRINT = [sys.executable, "-c", "import os; print(os.environ['TF_CONFIG'])"]


def parse(words):
    """The configuration of a command `python -m tfseg.train ...`."""
    assert words[:3] == ["python", "-m", "tfseg.train"]
    values = flags.FlagValues()
    cli.define_train_flags(values)
    assert values(["train", *words[3:]])[1:] == []
    return cli.config_from_flags(TrainConfig, values)


def run(command, **environment):
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        command, env={"PATH": path, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def read_cluster(monkeypatch):
    def read(text):
        monkeypatch.setenv("TF_CONFIG", text)
        return cluster.read_cluster()

    return read


def srun_command():
    """What srun starts in each task: the wrapper, and the training."""
    text = SLURM.read_text().replace("\\\n", "")
    words = shlex.split(re.search(r"^srun .*", text, re.MULTILINE).group())
    return words[words.index("bash") : words.index("python")], words[words.index("python") :]


def test_slurm_script_is_bash_and_its_flags_are_real():
    subprocess.run(["bash", "-n", SLURM], check=True)
    config = parse(srun_command()[1])
    assert config.run.strategy == "multi_worker"
    assert config.run.model_dir.startswith("/shared/")


def test_slurm_variables_become_a_tf_config(read_cluster):
    function = re.search(r"^make_tf_config\(\) {\n.*?^}\n", SLURM.read_text(), re.DOTALL | re.M)
    wrapper, _ = srun_command()
    script = f"{function.group()}\nexport -f make_tf_config\n{shlex.join([*wrapper, *PRINT])}"
    variables = {
        "SLURM_PROCID": "1",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "gpu[07-08]",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    }
    found = read_cluster(run(["bash", "-c", script], **variables))
    assert found == cluster.Cluster(("gpu07:8888", "gpu08:8888"), 1)


def kubernetes_parts():
    service, job = yaml.safe_load_all(KUBERNETES.read_text())
    pod = job["spec"]["template"]["spec"]
    return service, job, pod, pod["containers"][0]


def test_kubernetes_names_fit_together_and_the_flags_are_real():
    service, job, pod, container = kubernetes_parts()
    name = job["metadata"]["name"]
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    (variable,) = container["env"]
    counts = {int(variable["value"]), job["spec"]["completions"], job["spec"]["parallelism"]}
    assert counts == {2}
    config = parse(container["args"])
    assert config.run.strategy == "multi_worker"
    assert config.run.model_dir.startswith(container["volumeMounts"][0]["mountPath"])


@pytest.mark.parametrize("index", [0, 1, 2])
def test_kubernetes_index_becomes_a_tf_config(index, read_cluster):
    container = kubernetes_parts()[-1]
    command = [*container["command"], *PRINT]
    found = read_cluster(run(command, NUM_WORKERS="3", JOB_COMPLETION_INDEX=str(index)))
    assert found == cluster.Cluster(tuple(f"tfseg-{n}.tfseg:2222" for n in range(3)), index)
