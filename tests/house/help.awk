# `make help`: prints the groups (lines "##@ Group") and the targets ("name: ... ## what for") of the Makefile.
BEGIN { print "Usage: make [target] [NAME=value]      two to start with: make demo, make test" }
/^##@ / { print "\n" substr($0, 5) }
/^[a-z-]+:.* ## / { name = $0; sub(/:.*/, "", name); text = $0; sub(/.* ## /, "", text); printf "  %-15s %s\n", name, text }
/^# Knobs/ { in_knobs = 1; knobs = "\nKnobs"; next }
in_knobs && /^#   / { knobs = knobs "\n  " substr($0, 5); next }
{ in_knobs = 0 }
END { print knobs "\n\nOne program or test by name: make build/bin/train, make build/bin/tests/kernels/layernorm_test" }
