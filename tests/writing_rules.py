"""What the architecture test knows of writing: which calls make or change a file."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

# Names of functions and methods that write whatever they are called on.
_ALWAYS = {
    *("write_text", "write_bytes", "touch", "symlink_to", "hardlink_to"),
    *("copyfile", "copytree", "copy2", "rmtree", "mkstemp", "mkdtemp"),
    *("NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory"),
    *("FileHandler", "RotatingFileHandler", "savez", "savetxt", "savefig", "tofile"),
    *("write_html", "write_image", "save_file", "save_model"),
}
# Of these only the module's own: the bare name is also a harmless method.
_OF_MODULE = {
    *("os.replace", "os.rename", "os.link", "os.symlink", "os.truncate", "os.open"),
    *("shutil.copy", "shutil.move", "np.save", "torch.save", "pickle.dump", "json.dump"),
}
_FRAME_WRITERS = re.compile(
    r"(write|sink)_(parquet|csv|ipc|ipc_stream|json|ndjson|excel|avro|delta)|to_(csv|parquet|pickle)"
)
_OPENERS = {"open": 1, "io.open": 1, "os.fdopen": 1}
_BUFFERS = ("BytesIO", "StringIO")


def find_writes(sources: Mapping[str, str], allowed: Mapping[str, str]) -> list[str]:
    """Return each call that writes to the disk, with file and line.

    Parameters
    ----------
    sources
        Path below ``src`` to text.
    allowed
        What may write, to the reason why: a file's path, or ``path: call`` for one call in it.
    """
    return [
        f"{path}:{call.lineno}: {ast.unparse(call.func)}(...) writes; go through finscale.files"
        for path, text in sources.items()
        if path not in allowed
        for call in _writing_calls(ast.parse(text))
        if f"{path}: {ast.unparse(call.func)}" not in allowed
    ]


def _writing_calls(tree: ast.Module) -> list[ast.Call]:
    buffers = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func).endswith(_BUFFERS)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if _writes(call, buffers)]


def _writes(call: ast.Call, buffers: set[str]) -> bool:
    full = ast.unparse(call.func)
    owner, _, name = full.rpartition(".")
    is_method = bool(owner)
    if name in _ALWAYS or full in _OF_MODULE:
        return True
    if full in _OPENERS or (is_method and name == "open"):
        return _opens_for_writing(call, _OPENERS.get(full, 0))
    if is_method and name == "replace":
        # Path.replace takes one value, str.replace two, and date.replace names them.
        return len(call.args) == 1 and not call.keywords
    if is_method and _FRAME_WRITERS.fullmatch(name):
        first = call.args[0] if call.args else None
        into_memory = first is None and not call.keywords
        return not (into_memory or (isinstance(first, ast.Name) and first.id in buffers))
    if full in {"yaml.dump", "yaml.safe_dump"}:
        return len(call.args) > 1 or any(word.arg == "stream" for word in call.keywords)
    return False


def _opens_for_writing(call: ast.Call, mode_position: int) -> bool:
    """Tell whether the mode is one for writing; a mode that is not spelled out may be one."""
    mode = call.args[mode_position] if len(call.args) > mode_position else None
    for word in call.keywords:
        mode = word.value if word.arg == "mode" else mode
    if mode is None:
        return False
    if not (isinstance(mode, ast.Constant) and isinstance(mode.value, str)):
        return True
    return bool(set(mode.value) & set("wax+"))
