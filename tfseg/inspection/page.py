"""`doctor.html`: everything on one page that loads nothing from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

from tfseg.data.labels import LabelSpec
from tfseg.inspection import gallery
from tfseg.inspection.example import Thumbnail
from tfseg.inspection.findings import Finding
from tfseg.inspection.record import size_range
from tfseg.inspection.scan import Scan
from tfseg.report.visualization import VOID_COLOR

_LISTED_FILES = 50  # doctor.json lists all of them
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem 1rem .2rem 0; text-align: left; border-bottom: 1px solid #8884; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.verdict { padding: .6rem 1rem; border-left: .5rem solid #2a2; background: #8882; }
.verdict.unfit, .problem { border-color: #c22; }
.problem > summary::before { content: "problem: "; color: #c22; font-weight: 600; }
.note > summary::before { content: "note: "; font-weight: 600; }
.swatch { display: inline-block; width: .9em; height: .9em; margin: 0 .4em 0 0;
  border: 1px solid #888; vertical-align: -.1em; }
.bar { display: inline-block; height: .8em; background: #48c; }
.legend span.entry { margin-right: 1rem; white-space: nowrap; }
.row { display: flex; gap: .3rem; margin: .2rem 0 1rem; }
.row img { width: 32.8%; object-fit: contain; align-self: flex-start; }
figcaption, li, summary { overflow-wrap: anywhere; }
code { word-break: break-all; }
figure { margin: 0; }
"""


def render(
    dataset: str,
    verdict: str,
    findings: Sequence[Finding],
    scans: Sequence[Scan],
    labels: LabelSpec,
    suggestions: Mapping[str, str],
    augmented: Sequence[Thumbnail],
) -> str:
    """Returns the page; pictures are part of it, as data URIs.

    Args:
        dataset: The value of --dataset.
        verdict: One line.
        findings: Problems and notes.
        scans: The training split and the eval split.
        labels: The data set's classes.
        suggestions: Text for the shell, by flag.
        augmented: A batch as the model sees it; empty for none.
    """
    title = html.escape(f"tfseg.doctor: {dataset}")
    state = "unfit" if any(finding.is_problem for finding in findings) else "fit"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p class="verdict {state}">{html.escape(verdict)}</p>
<h2>Findings</h2>
{_render_findings(findings)}
<h2>Suggestions</h2>
{_render_suggestions(suggestions)}
<h2>Sizes</h2>
{_render_sizes(scans)}
<h2>Classes</h2>
{_render_classes(scans, labels)}
<h2>Examples</h2>
{_render_legend(labels)}
{_render_gallery([thumb for scan in scans for thumb in scan.thumbnails], labels)}
{_render_augmented(augmented, labels)}
</body>
</html>
"""


def _render_findings(findings: Sequence[Finding]) -> str:
    return "\n".join(map(_render_finding, findings)) or "<p>None.</p>"


def _render_finding(finding: Finding) -> str:
    kind = "problem" if finding.is_problem else "note"
    items = "".join(f"<li>{html.escape(line)}</li>" for line in finding.files[:_LISTED_FILES])
    if len(finding.files) > _LISTED_FILES:
        items += f"<li>and {len(finding.files) - _LISTED_FILES} more in doctor.json</li>"
    return (
        f'<details class="{kind}"><summary>{html.escape(finding.text)}</summary>'
        f"<ul>{items}</ul></details>"
    )


def _render_suggestions(suggestions: Mapping[str, str]) -> str:
    items = "".join(f"<li><code>{html.escape(text)}</code></li>" for text in suggestions.values())
    return f"<ul>{items}</ul>" if items else "<p>None.</p>"


def _render_sizes(scans: Sequence[Scan]) -> str:
    header = "".join(
        f"<th>{word}</th>"
        for word in ("split", "examples", "usable", "smallest", "median", "largest")
    )
    rows = []
    for scan in scans:
        sizes = (size_range(scan) or {}).values()
        cells = [
            scan.num_examples,
            len(scan.good),
            *(f"{height}x{width}" for height, width in sizes),
        ]
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        rows.append(f"<tr><td>{html.escape(scan.split)}</td>{numbers}</tr>")
    return f"<table><tr>{header}</tr>{''.join(rows)}</table><p>Height x width in pixels.</p>"


def _render_classes(scans: Sequence[Scan], labels: LabelSpec) -> str:
    header = "<th>class</th>" + "".join(
        f"<th>{scan.purpose}: % of pixels</th><th>images</th>" for scan in scans
    )
    rows = []
    for class_id, name in enumerate(labels.names):
        cells = "".join(_render_class_cells(scan, class_id) for scan in scans)
        rows.append(
            f"<tr><td>{_swatch(labels.palette[class_id])}{html.escape(name)}</td>{cells}</tr>"
        )
    return (
        f"<table><tr>{header}</tr>{''.join(rows)}</table>"
        "<p>Shares are those of the pixels that are not void.</p>"
    )


def _render_class_cells(scan: Scan, class_id: int) -> str:
    share = 100 * scan.class_pixels[class_id] / max(1, scan.class_pixels.sum())
    return (
        f'<td><span class="bar" style="width: {share / 10:.3f}rem"></span> {share:.2f}</td>'
        f'<td class="number">{scan.class_images[class_id]}</td>'
    )


def _render_legend(labels: LabelSpec) -> str:
    named = [*zip(labels.names, labels.palette, strict=True), ("void", VOID_COLOR)]
    entries = (
        f'<span class="entry">{_swatch(color)}{html.escape(name)}</span>' for name, color in named
    )
    return f'<p class="legend">{" ".join(entries)}</p>'


def _swatch(color: Sequence[int]) -> str:
    return f'<span class="swatch" style="background: rgb{tuple(np.array(color).tolist())}"></span>'


def _render_gallery(thumbnails: Sequence[Thumbnail], labels: LabelSpec) -> str:
    return "\n".join(_render_row(thumbnail, labels) for thumbnail in thumbnails)


def _render_row(thumbnail: Thumbnail, labels: LabelSpec) -> str:
    pictures = "".join(
        f'<img src="{uri}" alt="{kind}">'
        for uri, kind in zip(
            gallery.data_uris(thumbnail, labels), ("image", "mask", "overlay"), strict=True
        )
    )
    caption = html.escape(thumbnail.name)
    return f'<figure><figcaption>{caption}</figcaption><div class="row">{pictures}</div></figure>'


def _render_augmented(augmented: Sequence[Thumbnail], labels: LabelSpec) -> str:
    if not augmented:
        return ""
    return f"<h2>A batch as the model sees it</h2>\n{_render_gallery(augmented, labels)}"
