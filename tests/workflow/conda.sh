#!/usr/bin/env bash
# Answers what Snakemake asks conda; an environment is a folder with a `python` that is the python3 of PATH.
root=$(cd "$(dirname "$0")/.." && pwd)
case "$1 ${2:-}" in
  "info --json") printf '{"conda_version": "25.1.0", "platform": "linux-64", "conda_prefix": "%s", "root_prefix": "%s"}\n' "$root" "$root" ;;
  "--version ") echo "conda 25.1.0" ;;
  "config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
  "env create")
    while [ "$1" != --prefix ]; do shift; done
    mkdir -p "$2/bin" "$2/conda-meta"
    printf '#!/usr/bin/env bash\nexec "%s" "$@"\n' "$(command -v python3)" > "$2/bin/python"
    chmod +x "$2/bin/python" ;;
esac
