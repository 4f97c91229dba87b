import http.server
import json
import shutil
import threading
import time

import datasets
import huggingface_hub.constants
import pytest
from datasets.packaged_modules.parquet.parquet import Parquet

from tests import hosts
from tests.data.sources.pictures import rows
from tfseg.data.sources import huggingface_tables
from tfseg.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")


def load(path, split="train", **options):
    return huggingface_tables.open_table(path, split, **options)


def point_to(url, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def closed_hub(monkeypatch):
    """A Hub on whose port nobody listens."""
    point_to(hosts.find_closed_url(), monkeypatch)


class HubHandler(http.server.BaseHTTPRequestHandler):
    """Answers as the Hub does for data sets that are one loading script without a README.

    `scripted` is such a data set, which has no revision `gone`, `missing` does not exist, and all
    others are forbidden.
    """

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if self.path == "/":
            self.answer(200)
        elif "/missing" in self.path:
            self.answer(404, headers={"X-Error-Code": "RepoNotFound"})
        elif "/revision/gone" in self.path:
            self.answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        elif "/api/datasets/scripted" in self.path:
            self.answer(200, json.dumps({"id": "scripted", "sha": "c" * 40}).encode())
        elif self.path.endswith("/scripted.py"):
            headers = {"X-Repo-Commit": "c" * 40, "ETag": "'e'"}
            self.answer(200, b"import datasets", headers)
        elif "/datasets/scripted/" in self.path:
            self.answer(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": "c" * 40})
        else:
            self.answer(403)

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def open_hub(monkeypatch, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point_to(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield
    server.shutdown()
    server.server_close()


def test_folder_without_data(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"hf:.*/empty, split 'train': .* doesn't contain any data"):
        load(str(tmp_path / "empty"))


def test_unreachable_hub_is_one_error_within_seconds(closed_hub, capfd):
    started = time.monotonic()
    with pytest.raises(UserError) as error:
        load("nobody/nothing")
    assert time.monotonic() - started < 20
    for part in ("hf:nobody/nothing", "Hub did not answer", "HF_HUB_OFFLINE=1 to use a copy",
                 "hf download --repo-type dataset nobody/nothing --local-dir DIR",
                 "--dataset=hf:DIR", "--dataset=shapes"):  # fmt: skip
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert len(capfd.readouterr().err.splitlines()) < 5


def test_a_local_loading_script_is_named_with_the_way_that_works(tmp_path):
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text("import datasets")
    for path in (folder, folder / "scripted.py"):
        with pytest.raises(UserError) as error:
            load(str(path))
        assert f"hf:{path} is a loading script" in str(error.value)
        assert "hf download --repo-type dataset NAME --revision refs/convert/parquet" in str(
            error.value
        )


def test_a_loading_script_on_the_hub_is_named_with_the_way_that_works(open_hub):
    with pytest.raises(UserError) as error:
        load("scripted")
    assert "hf:scripted is a loading script" in str(error.value)
    assert (
        "hf download --repo-type dataset scripted --revision refs/convert/parquet --local-dir DIR, "
        "then --dataset=hf:DIR/CONFIGURATION"
    ) in str(error.value)


def test_a_configuration_of_the_parquet_copy_can_be_read(write, tmp_path):
    """The branch holds CONFIGURATION/SPLIT/0000.parquet; other configurations do not matter."""
    for configuration, count in (("scenes", 3), ("instances", 2)):
        folder = tmp_path / "copy" / configuration / "train"
        folder.mkdir(parents=True)
        shutil.move(f"{write(rows(count))}/train.parquet", folder / "0000.parquet")
    assert len(load(str(tmp_path / "copy" / "scenes"))) == 3


@pytest.mark.parametrize(
    ("path", "message"),
    [("missing", "'missing' doesn't exist on the Hub"), ("forbidden", "LocalEntryNotFoundError")],
)
def test_what_an_answering_hub_says_is_passed_on(path, message, open_hub):
    with pytest.raises(UserError, match=f"hf:{path}, split 'train': .*{message}") as error:
        load(path)
    assert "did not answer" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def offline(monkeypatch):
    """What HF_HUB_OFFLINE=1 sets when the modules are imported."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_offline_mode_uses_the_copy_in_the_cache(write, tmp_path, closed_hub, offline):
    files = {"train": [f"{write(rows(3))}/train.parquet"]}
    builder = Parquet(dataset_name="pictures", hash="abc", data_files=files)
    builder.download_and_prepare()
    # A copy from the Hub lies in the same folder, but its name has no hash.
    (configuration,) = (tmp_path / "cache" / "pictures").iterdir()
    configuration.rename(configuration.with_name("default"))
    assert len(load("pictures")) == 3


def test_offline_mode_without_a_copy_is_not_called_an_unreachable_hub(closed_hub, offline):
    with pytest.raises(UserError, match=r"hf:nobody/nothing, .*OfflineModeIsEnabled") as error:
        load("nobody/nothing")
    assert "did not answer" not in str(error.value)


def save_splits(folder, **counts):
    table = load(folder)
    parts = {name: table.select(range(count)) for name, count in counts.items()}
    datasets.DatasetDict(parts).save_to_disk(f"{folder}_saved")
    return f"{folder}_saved"


def save_single(folder, split):
    load(folder, split).save_to_disk(f"{folder}_single")
    return f"{folder}_single"


def test_a_saved_split_keeps_its_name(write):
    folder = write(rows(4), split="test")
    single = save_single(folder, "test[:3]")
    assert len(load(single, "test")) == 3
    assert len(load(single, "test[1:]")) == 2
    with pytest.raises(UserError, match=r"split 'train': Unknown split \"train\".*'test'"):
        load(single)


def test_slices_of_saved_splits_are_added(write):
    saved = save_splits(write(rows(4)), train=4, test=2)
    indices = [row["annotation"] for row in load(saved, "train[50%:]+test[:1]")]
    assert [mask.size[1] for mask in indices] == [10, 11, 8]


@pytest.mark.parametrize("form", ["parquet", "saved"])
def test_a_split_named_wrongly_is_answered_with_those_that_exist(form, write):
    folder = write(rows(3))
    write(rows(2), split="test")
    path = save_splits(folder, train=2, test=2) if form == "saved" else folder
    with pytest.raises(UserError) as error:
        load(path, "val")
    message = str(error.value)
    assert message.startswith(f"--dataset=hf:{path}, split 'val': Unknown split \"val\"")
    for part in ("train", "test", "set --train_split, --eval_split"):
        assert part in message
    assert "\n" not in message


def write_two_configurations(write, tmp_path):
    folder = tmp_path / "several"
    folder.mkdir()
    lines = []
    for name, count in (("scenes", 3), ("instances", 2)):
        shutil.move(f"{write(rows(count))}/train.parquet", folder / f"{name}.parquet")
        lines += [f"- config_name: {name}", f"  data_files: {name}.parquet"]
    (folder / "README.md").write_text("\n".join(["---", "configs:", *lines, "---"]))
    return str(folder)


def test_a_configuration_is_chosen_and_others_are_listed(write, tmp_path):
    folder = write_two_configurations(write, tmp_path)
    assert len(load(folder, config_name="instances")) == 2
    for wrong in (None, "panoptic"):
        with pytest.raises(UserError, match=r"scenes.*instances.*; set --dataset_config$") as error:
            load(folder, config_name=wrong)
        assert "\n" not in str(error.value)


def test_saved_folders_and_single_files_have_no_configurations(write):
    folder = write(rows(2))
    for path in (f"{folder}/train.parquet", save_single(folder, "train")):
        with pytest.raises(UserError, match=f"--dataset_config=x: --dataset=hf:{path} has no conf"):
            load(path, config_name="x")


def test_a_revision_of_a_local_folder_is_refused(write):
    folder = write(rows(2))
    with pytest.raises(UserError, match=f"--dataset_revision=v1 is for .*hf:{folder} is local"):
        load(folder, revision="v1")


def test_a_revision_that_does_not_exist_is_named_with_its_flag(open_hub):
    with pytest.raises(UserError) as error:
        load("scripted", revision="gone")
    message = str(error.value)
    for part in ("hf:scripted", "'gone'", "set --dataset_revision"):
        assert part in message
    assert "did not answer" not in message
    assert "\n" not in message
