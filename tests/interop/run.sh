#!/usr/bin/env bash
# The tests with deepinv, spandrel and napari, each in an environment of its own that sees ours: none of them is a
# dependency, and torchvision, which two of them ask for, must not come near the others.
set -euo pipefail
cd "$(dirname "$0")/../.."
ours=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for tool in deepinv spandrel napari; do
  environment=build/interop/$tool
  if [ ! -f "$environment/installed" ]; then
    python3 -m venv "$environment"
    echo "$ours" > "$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz_ours.pth"
    case $tool in
      napari) packages=(-c constraints.txt napari PySide6-Essentials) ;;
      *) packages=(--no-deps "$tool" einops natsort torchmetrics 'torchvision==0.28.*') ;; # that of our torch
    esac
    "$environment/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
    touch "$environment/installed"
  fi
  PYTHONPATH=src QT_QPA_PLATFORM=offscreen "$environment/bin/python" -m pytest -p no:cacheprovider \
    -o filterwarnings=default "tests/interop/test_$tool.py" "$@"
done
