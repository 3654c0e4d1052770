"""What PyInstaller cannot see: modules that are imported when they are first used, and the demo model."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

NOT_EMBEDDED = ("glmq.__main__", "glmq.batch_file", "glmq.cli", "glmq.pyinstaller", "glmq.server")

hiddenimports = collect_submodules("glmq", lambda name: not name.startswith(NOT_EMBEDDED))
datas = collect_data_files("glmq", includes=["demo/*.gguf"])
