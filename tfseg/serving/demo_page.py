"""A page on which a user uploads an image and sees its classes: `run_demo` starts it."""

from __future__ import annotations

import html
import tempfile
import time
from typing import Any

import numpy as np
from etils import epath

from tfseg.config.commands import DemoConfig
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.models import segformer
from tfseg.models.segformer import Segformer
from tfseg.report import visualization
from tfseg.serving import outputs, segmentation
from tfseg.serving.prediction import count_classes

_OPACITY = 0.5  # of the class colours at first
_KEPT_SECONDS = 3600  # Uploaded images and masks are deleted after an hour, and all at the end.
_CELL = "border:none;padding:0.2em 1em 0.2em 0"
_NO_IMAGE = "Upload a JPEG or PNG image to see its classes."


def run_demo(config: DemoConfig) -> None:
    """Serves a page that segments uploaded images, until Ctrl-C.

    Args:
        config: The model, and the address and port that the page is served at.

    Raises:
        UserError: Gradio is not installed, the model cannot be loaded, or the address or the port
            cannot be used.
    """
    gradio = _import_gradio()
    model = segformer.load_model(config.model)
    with tempfile.TemporaryDirectory(prefix="tfseg-demo-") as folder:
        title = "/".join(epath.Path(config.model).parts[-2:])
        page = build_page(gradio, model, title=title, folder=epath.Path(folder))
        try:
            _, url, _ = page.launch(
                server_name=config.server_name,
                server_port=config.server_port,
                share=False,
                quiet=True,
                ssr_mode=False,
                footer_links=[],
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise UserError(
                f"cannot serve the page at {config.server_name}, port {config.server_port or 7860}:"
                " choose another --server_port, or a --server_name of this machine"
            ) from error
        print(f"open {url} in a browser; Ctrl-C ends it", flush=True)
        page.block_thread()


def build_page(gradio: Any, model: Segformer, *, title: str, folder: epath.Path) -> Any:
    """Builds the page.

    Args:
        gradio: The package.
        model: The SegFormer.
        title: The heading.
        folder: Where the masks for download are written.

    Returns:
        `gradio.Blocks`, which is not served yet.
    """

    def show(path: str | None, opacity: float) -> tuple[Any, ...]:
        try:
            return _show(gradio, model, folder, path, opacity)
        except UserError as error:
            raise gradio.Error(str(error).removeprefix(f"{path} ")) from error

    def blend(shown: tuple[np.ndarray, np.ndarray] | None, opacity: float) -> np.ndarray | None:
        return shown and visualization.overlay(*shown, model.labels.palette, opacity)

    # Without its analytics Gradio reports nothing to anybody.
    with gradio.Blocks(
        title="tfseg", analytics_enabled=False, delete_cache=(_KEPT_SECONDS, _KEPT_SECONDS)
    ) as page:
        gradio.Markdown(f"# {html.escape(title)}")
        shown = gradio.State()
        with gradio.Row():
            with gradio.Column():
                # The bytes of the file, so that tfseg decodes them as it does everywhere.
                image = gradio.Image(
                    type="filepath", image_mode=None, sources=["upload"], label="Image"
                )
                opacity = gradio.Slider(0, 1, _OPACITY, step=0.05, label="Opacity of the colours")
            with gradio.Column():
                overlay = gradio.Image(
                    format="png", interactive=False, buttons=["fullscreen"], label="Classes"
                )
                legend = gradio.HTML(_NO_IMAGE)
                download = gradio.DownloadButton("Download the mask", interactive=False)
        image.change(show, [image, opacity], [shown, overlay, legend, download])
        opacity.change(
            blend, [shown, opacity], overlay, show_progress="hidden", trigger_mode="always_last"
        )
    return page


def _show(
    gradio: Any, model: Segformer, folder: epath.Path, path: str | None, opacity: float
) -> tuple[Any, ...]:
    """Returns what is kept of an image, its overlay, its legend and its download."""
    if path is None:
        return None, None, _NO_IMAGE, gradio.DownloadButton(value=None, interactive=False)
    labels = model.labels
    pixels = segmentation.read_pixels(path, model.preprocessing.apply_exif)
    class_map = segmentation.predict_class_map(pixels, model)
    _remove_old(folder)
    mask = epath.Path(tempfile.mkdtemp(dir=folder)) / (
        epath.Path(path).stem + outputs.SUFFIXES["classes"]
    )
    mask.write_bytes(visualization.encode_class_png(class_map, labels.palette))
    return (
        (pixels, class_map),
        visualization.overlay(pixels, class_map, labels.palette, opacity),
        render_legend(class_map, labels),
        gradio.DownloadButton(value=str(mask), interactive=True),
    )


def _remove_old(folder: epath.Path) -> None:
    for path in folder.iterdir():
        if time.time() - path.stat().mtime > _KEPT_SECONDS:
            path.rmtree(missing_ok=True)


def render_legend(class_map: np.ndarray, labels: LabelSpec) -> str:
    """Returns an HTML table of the classes that occur: colour, name and share of the pixels.

    Args:
        class_map: Class ids, integer `[height, width]`.
        labels: Names and colours of the classes.
    """
    rows = []
    for found in count_classes(class_map, labels):
        red, green, blue = labels.palette[found["id"]]
        square = f"display:inline-block;width:1em;height:1em;background:rgb({red},{green},{blue})"
        cells = (f'<i style="{square}"></i>', html.escape(found["name"]), f"{found['share']:.1%}")
        row = "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)
        rows.append(f'<tr style="border:none">{row}</tr>')
    return f'<table style="border:none">{"".join(rows)}</table>'


def _import_gradio() -> Any:
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise UserError(
            f'the demo needs Gradio ({error.name} is missing): pip install ".[demo]"'
        ) from error
    return gradio
