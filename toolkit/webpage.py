"""Pages that need nothing else: the shell of all, and an executed notebook as one."""

from __future__ import annotations

from html import escape


def as_html(notebook: str, title: str) -> str:
    """The page: outputs, no code, no scripts."""
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    settings = Config()
    settings.HTMLExporter.exclude_input = True
    settings.HTMLExporter.exclude_output_prompt = True
    settings.HTMLExporter.exclude_anchor_links = True
    settings.HTMLExporter.embed_images = True
    exporter = HTMLExporter(config=settings, template_name="basic")
    body, _ = exporter.from_notebook_node(nbformat.reads(notebook, as_version=4))
    return document(title, body, PROSE)


def document(title: str, body: str, style: str = "") -> str:
    """An HTML page, light or dark as the reader's system is.

    Args:
        title: As text. body: What it shows, as HTML. style: CSS, beside that of all pages.
    """
    return SHELL.format(title=escape(title), style=STYLE + style, body=body)


SHELL = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

STYLE = """
:root { color-scheme: light dark;
  --ink: #222; --quiet: #666; --paper: #fff; --shade: #f6f6f6; --line: #ccc; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --quiet: #999; --paper: #161616; --shade: #222; --line: #444; }
}
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 1rem 1.25rem; }
img { max-width: 100%; background: #fff; border-radius: 6px; }
"""

PROSE = """
main { padding-bottom: 4rem; }
h1, h2 { line-height: 1.2; margin: 2.2em 0 0.4em; }
h1 { margin-top: 0.8em; }
pre { font: 14px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; background: var(--shade);
  padding: 0.9em 1.1em; border-radius: 6px; overflow-x: auto; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 0.92em; }
.output_html { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88em; margin: 0.6em 0; border: 0; }
th, td { text-align: left !important; vertical-align: top; padding: 0.25em 0.8em 0.25em 0;
  border: 0; border-bottom: 1px solid var(--line); }
"""
