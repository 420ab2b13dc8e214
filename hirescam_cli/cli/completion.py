"""What the tab key offers: the words of an option's choices, models and labels. Imports neither torch nor NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from hirescam_cli.options import BY_NAME, Option

Completer = Callable[[str], list[str]] | Callable[[typer.Context, str], list[str]]


def completer(option: Option) -> Completer | None:
    """The completer of an option's values; None leaves it to the shell, which offers files."""
    if option.name == "model":
        return complete_model
    if option.name == "labels":
        return complete_labels
    if option.choice is None:
        return None

    def complete(incomplete: str) -> list[str]:
        assert option.choice is not None
        words = (*option.choice.words, *option.choice.listed())
        return _of_list(words, incomplete) if option.several else _of(words, incomplete)

    return complete


def complete_model(incomplete: str) -> list[str]:
    """Embedded models, folders and description files."""
    from hirescam_cli.resources import config_names

    return _of(config_names(), incomplete) + _toml_files(incomplete)


def complete_labels(ctx: typer.Context, incomplete: str) -> list[str]:
    """The words of --labels, and the labels of the model that stands on the command line."""
    from hirescam_cli.errors import HirescamError
    from hirescam_cli.model.spec import labels_of

    words = ("positive", "all", "top:5")
    try:
        labels = labels_of(str(ctx.params.get("option_model") or BY_NAME["model"].default))
    except (HirescamError, OSError):
        labels = ()
    return _of_list(labels, incomplete) if "," in incomplete else _of((*words, *labels), incomplete)


def _of(words: Sequence[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _of_list(words: Sequence[str], incomplete: str) -> list[str]:
    """Completions of the last part of a list joined by commas: a word once."""
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [before + comma + word for word in _of(words, last) if word not in taken]


def _toml_files(incomplete: str) -> list[str]:
    folder, slash, start = incomplete.rpartition("/")
    try:
        found = sorted(Path(folder + slash or ".").iterdir())
    except OSError:
        return []
    shown = [path for path in found if path.name.startswith(start) and not path.name.startswith(".")]
    files = [folder + slash + path.name for path in shown if path.suffix == ".toml" and path.is_file()]
    folders = [f"{folder}{slash}{path.name}/" for path in shown if path.is_dir() and incomplete]
    return files + folders
