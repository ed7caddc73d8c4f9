
# Ids of orders, in one state or in any; nothing where there is no root.
function __fish_jobyard_ids
    set -l root
    set -l words (commandline -xpc 2>/dev/null; or commandline -opc)
    set -l at (contains -i -- --root $words)
    and set root --root $words[(math $at + 1)]
    set -l state
    test -n "$argv[1]"; and set state --state $argv[1]
    jobyard list --ids $root $state 2>/dev/null
end
