//! Tests of the order of keys: single cases.

use super::arrange;

fn check(before: &str, after: &str) {
    assert_eq!(arrange(before).unwrap(), after, "from {before:?}");
    assert_eq!(arrange(after).unwrap(), after, "once more");
}

#[test]
fn keys_take_the_order_of_the_page_and_those_of_the_user_come_before_ours() {
    check(
        "status: pending\nx_jobyard: {attempt: 1}\nmine: 1\nrun: a\ntitle: T\nother: 2\nid: A\n",
        "id: A\ntitle: T\nrun: a\nmine: 1\nother: 2\nstatus: pending\nx_jobyard: {attempt: 1}\n",
    );
    check(
        "\u{feff}---\r\ntitle: T\r\nid: A\r\n...\r\n",
        "\u{feff}---\r\nid: A\r\ntitle: T\r\n...\r\n",
    );
    check("title: T\nid: A", "id: A\ntitle: T");
    check("{title: T, id: A}\n", "{title: T, id: A}\n");
}

#[test]
fn comments_go_with_their_key() {
    check(
        "# of the file\n\n# above\nrun: a # behind\n# above too\ntitle: T\nid: A\n# the end\n",
        "# of the file\n\nid: A\n# above too\ntitle: T\n# above\nrun: a # behind\n# the end\n",
    );
    check(
        "run:\n- a\n  # inside\ntitle: T\n# below\n\nid: A\n",
        "\nid: A\ntitle: T\n# below\n\nrun:\n- a\n  # inside\n".trim_start(),
    );
    check("title: T\n\n# a part\n\nrun: a\nid: A\n", "id: A\ntitle: T\n\n# a part\n\nrun: a\n");
}

#[test]
fn blank_lines_are_at_most_one_and_texts_keep_theirs() {
    check("id: A\n\n\n\ntitle: T\n\n\n", "id: A\n\ntitle: T\n");
    check(
        "objective: |\n  a\n\n\n  b\n\n\ntitle: T\nid: A\n",
        "id: A\n\ntitle: T\nobjective: |\n  a\n\n\n  b\n",
    );
    check("objective: |+\n  a\n\n\ntitle: T\nid: A\n", "id: A\ntitle: T\nobjective: |+\n  a\n\n\n");
}

#[test]
fn what_cannot_move_stays() {
    let alias = "x_a: &a 1\ntitle: T\nx_b: *a\nid: A\n";
    check(alias, alias);
    // A carriage return alone ends a line for YAML and not for editors.
    for shared in ["id: A\rtitle: T\n", "title: T\nid: A\n\r\r\n\n"] {
        check(shared, shared);
    }
    let open = "objective: |\n  a\ntitle: T\nid: A\nx_last: |\n  no end";
    let arranged = arrange(open).unwrap();
    assert!(arranged.ends_with("x_last: |\n  no end"), "{arranged}");
}
