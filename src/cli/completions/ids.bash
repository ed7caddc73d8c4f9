
# Ids of orders, in one state or in any; nothing where there is no root.
_jobyard_add_ids() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD - 1]}" at id
    local -a root=()
    [[ "$word" == -* || "$before" == --* && "$before" != --json && "$before" != --force ]] && return
    for ((at = 1; at < COMP_CWORD; at++)); do
        if [[ "${COMP_WORDS[at]}" == --root ]]; then
            at=$((at + 1))
            [[ "${COMP_WORDS[at]}" == "=" ]] && at=$((at + 1))
            root=(--root "${COMP_WORDS[at]}")
        fi
    done
    COMPREPLY=()
    while IFS= read -r id; do
        [[ "$id" == "$word"* ]] && COMPREPLY+=("$id")
    done < <("${COMP_WORDS[0]}" list --ids "${root[@]}" ${1:+--state "$1"} 2>/dev/null)
}

_jobyard_with_ids() {
    _jobyard "$@"
    local at verb=
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "${COMP_WORDS[at]}" in
            --root)
                at=$((at + 1))
                [[ "${COMP_WORDS[at]}" == "=" ]] && at=$((at + 1))
                ;;
            -*) ;;
            *)
                verb="${COMP_WORDS[at]}"
                break
                ;;
        esac
    done
    case "$verb" in
        @ARMS@
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _jobyard_with_ids -o nosort -o bashdefault -o default jobyard
else
    complete -F _jobyard_with_ids -o bashdefault -o default jobyard
fi
