
# Ids of orders, in one state or in any; nothing where there is no root.
_jobyard_ids_of() {
    local -a ids root
    local at=${words[(I)--root]}
    (( at )) && root=(--root "${words[at + 1]}")
    ids=(${(f)"$(jobyard list --ids $root $argv 2>/dev/null)"})
    compadd -a ids
}
_jobyard_ids() { _jobyard_ids_of }
_jobyard_ids_pending() { _jobyard_ids_of --state pending }
_jobyard_ids_running() { _jobyard_ids_of --state running }
_jobyard_ids_failed() { _jobyard_ids_of --state failed }
