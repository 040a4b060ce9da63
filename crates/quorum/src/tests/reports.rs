//! What a report prints, as a whole.

use std::prelude::rust_2024::*;

use crate::report;

#[test]
fn a_report_names_the_offending_sets_and_the_folk_formula() {
    let text = "elect = row(a b / c d); commit = cover(a b / c d)";
    let (check, ok) = report::check(text).unwrap();
    assert!(ok);
    assert!(check.contains("UNSAFE: elect {c, d} and elect {a, b} share no member"), "{check}");
    assert!(report::show("4 of (a,b,c,d,e)").unwrap().contains("folk formula"));
    assert!(!report::show("majority(a,b,c,d,e)").unwrap().contains("folk"));
    assert!(!report::show("majority(a,b,c,d)").unwrap().contains("folk"));
    assert!(report::check("majority(a,").unwrap_err().contains("^"));
}

#[test]
fn a_check_refuses_commit_sets_of_witnesses_and_names_faulty_members_by_rule() {
    let (check, ok) = report::check("majority(a, witness(v), witness(w))").unwrap();
    assert!(!ok);
    let line = "raft, shared terms             UNSAFE: commit {v, w} has witnesses only";
    assert!(check.contains(line), "{check}");
    let (check, ok) = report::check("masking(1; a, b, c, d, e)").unwrap();
    assert!(ok && check.contains("masking, 1 faulty              safe"), "{check}");
    let (check, _) = report::check("two_threshold(1; a, b, c, d, e, f)").unwrap();
    assert!(check.contains("two thresholds, 1 faulty       safe"), "{check}");
    assert!(check.contains("masking, 1 faulty              UNSAFE"), "{check}");
}

#[test]
fn a_check_has_a_line_for_each_protocol_and_says_what_would_follow() {
    let (check, ok) = report::check("flexible(2; n1, n2, n3, n4, n5)").unwrap();
    assert!(ok);
    let expected = "\
system: flexible(2; n1, n2, n3, n4, n5)
members: {n1, n2, n3, n4, n5}
  raft, ballot = (term, node)    safe
  raft, shared terms             safe
  paxos                          safe
  versioned votes (Gifford)      UNSAFE: commit {n1, n2} and commit {n3, n4} share no member: \
two writers may not see each other's version
  byzantine, 1 faulty            UNSAFE: elect {n1, n2, n3, n4} and commit {n1, n5} share only \
{n1}, 2 needed
  masking, 1 faulty              UNSAFE: elect {n1, n2, n3, n4} and commit {n1, n5} share only \
{n1}, 3 needed
  two thresholds, 1 faulty       UNSAFE: elect {n1, n2, n3, n4} and commit {n1, n5} share only \
{n1}, 2 needed
";
    assert_eq!(check, expected);
}

#[test]
fn a_danger_is_told_only_where_one_shared_member_would_avert_it() {
    let (check, ok) = report::check("2 of (a, b, c, d)").unwrap();
    let line = "elect {a, b} and commit {c, d} share no member: \
                a new leader may not know a committed write\n";
    assert!(!ok && check.contains(line), "{check}");
    let byzantine = "byzantine, 1 faulty            UNSAFE: ";
    assert!(
        check.contains(&[byzantine, "elect {a, b} and commit {c, d} share no member\n"].concat())
    );
    let (check, _) =
        report::check("elect = 2 of (a, b, c, d); commit = all of (a, b, c, d)").unwrap();
    assert!(check.contains("elect {a, b} and elect {c, d} share no member: two leaders in one"));
    assert!(
        check.contains(&[byzantine, "elect {a, b} and elect {c, d} share no member\n"].concat())
    );
    let (check, _) =
        report::check("elect = all of (a, b, c, d); commit = 2 of (a, b, c, d)").unwrap();
    assert!(
        check.contains(&[byzantine, "commit {a, b} and commit {c, d} share no member\n"].concat())
    );
}

#[test]
fn as_many_faulty_members_are_asked_for_as_the_rule_has_members_for() {
    // 3f + 1, 4f + 1 and 5f + 1 members; all of them at once pass whatever is asked.
    for (count, [byzantine, masking, two]) in
        [(3, [1, 1, 1]), (6, [1, 1, 1]), (7, [2, 1, 1]), (9, [2, 2, 1]), (11, [3, 2, 2])]
    {
        let names = &"a,b,c,d,e,f,g,h,i,j,k"[..2 * count - 1];
        let (check, _) = report::check(&std::format!("all of ({names})")).unwrap();
        for (rule, faulty) in [("byzantine", byzantine), ("masking", masking), ("thresholds", two)]
        {
            let line = std::format!("{rule}, {faulty} faulty ");
            assert!(check.contains(&line), "{line}: {check}");
        }
        assert!(!check.contains("UNSAFE"), "{check}");
    }
    // Two quorums share one member only: seven members would bear two faulty ones, these none.
    let (check, _) = report::check("majority(a,b,c,d,e,f,g)").unwrap();
    assert!(check.contains("byzantine, 1 faulty            UNSAFE"), "{check}");
}

#[test]
fn a_system_of_two_roles_is_shown_role_by_role() {
    let expected = "\
system: gifford(3, 2; a:2, b:1, c:1)
members: {a, b, c}
elect (phase 1: votes):
  minimal quorums: 2
    {a, b}
    {a, c}
  resilience: 0 (no member is spare; losing {a} stops it)
  at best 1 may be missing: {c}
  never missing: {a}
  stopped by the loss of: 2
    {a}
    {b, c}
commit (phase 2: writes, read confirmation):
  minimal quorums: 2
    {a}
    {b, c}
  resilience: 1 (any 1 of 3 may be missing; losing {a, b} stops it)
  at best 2 may be missing: {b, c}
  stopped by the loss of: 2
    {a, b}
    {a, c}
dominated: no, every set that may commit does
";
    assert_eq!(report::show("gifford(3, 2; a:2, b:1, c:1)").unwrap(), expected);
}

#[test]
fn the_folk_formula_is_shown_with_what_it_costs() {
    let shown = report::show("4 of (a, b, c, d, e)").unwrap();
    let end = "  \
  note: 4 of 5 is the folk formula ceil(N/2)+1. It is safe, but one more
  than a majority, floor(N/2)+1 = 3: 1 may be missing instead of 2.
dominated: yes, {a, b} meets every elect quorum and is no commit quorum
";
    assert!(shown.ends_with(end.trim_start_matches(' ')), "{shown}");
    let shown = report::show("all of (a, b, c)").unwrap();
    assert!(shown.contains("floor(N/2)+1 = 2: 0 may be missing instead of 1."), "{shown}");
    for text in ["all of (a, b, c, d)", "3 of (a, b, c, d)", "a", "3 of (a, b, c, d, e, f)"] {
        assert!(!report::show(text).unwrap().contains("folk"), "{text}");
    }
}

#[test]
fn a_long_list_of_quorums_is_cut_at_32() {
    let shown = report::show("majority(a, b, c, d, e, f, g)").unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[3], "  minimal quorums: more than 32");
    assert_eq!(lines[4], "    {a, b, c, d}");
    assert_eq!(lines[35..37], ["    {c, d, e, g}", "    ... and more"]);
    assert_eq!(
        lines[37],
        "  resilience: 3 (any 3 of 7 may be missing; losing {a, b, c, d} stops it)"
    );
    assert_eq!(lines[38], "  at best 3 may be missing: {e, f, g}");
    assert!(!shown.contains("never missing") && !shown.contains("witnesses"), "{shown}");
    let ten = report::show("majority(a, b, c, d, e)").unwrap();
    assert!(ten.contains("minimal quorums: 10\n") && !ten.contains("more"), "{ten}");
}

#[test]
fn a_report_names_who_keeps_no_data_and_what_is_unsafe() {
    let shown = report::show("majority(a, witness(v), witness(w))").unwrap();
    let end = "\
witnesses (votes, no data): v, w
dominated: no, every set that may commit does
UNSAFE: commit {v, w} has witnesses only, who keep no data
";
    assert!(shown.ends_with(end), "{shown}");
}

#[test]
fn a_table_has_a_row_for_each_system() {
    let texts = [
        "majority(a, b, c)",
        "flexible(2; a, b, c, d, e)",
        "elect = a or b; commit = a and b",
        "elect = a; commit = b",
    ];
    let expected = "\
| system | (term, node) | shared terms | elect survives | commit survives |
|---|---|---|---|---|
| majority(a, b, c) | yes | yes | 1 | 1 |
| elect = 4 of (a, b, c, d, e); commit = 2 of (a, b, c, d, e) | yes | yes | 1 | 3 |
| elect = any of (a, b); commit = all of (a, b) | yes | no | 1 | 0 |
| elect = a; commit = b | no | no | 0 | 0 |
";
    assert_eq!(report::table(&texts).unwrap(), expected);
    assert!(report::table(&["a", "b ("]).unwrap_err().contains('^'));
}
