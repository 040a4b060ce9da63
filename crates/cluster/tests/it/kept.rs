//! Configurations as earlier builds wrote them: kept as bytes, so that a change of writer and
//! reader together cannot lose them.

use super::*;
use base::codec::DecodeError;
use cluster::ChangeState;

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the bytes say, and that they are still the bytes that are written.
fn holds(kept: &str, config: &Configuration) {
    assert_eq!(hex_of(&config.encode()), hex_of(&bytes_of(kept)));
    assert_eq!(Configuration::decode(&bytes_of(kept)).as_ref(), Ok(config));
}

const BORN: &str = "
    01010d000000616c6c206f662028612c206229000200000001000000000000000000010000006101
    0000000a000000687474703a2f2f613a31010000000a000000687474703a2f2f613a320200000000
    00000001000100000062010000000a000000687474703a2f2f623a31010000000a00000068747470
    3a2f2f623a32010000000500000071756f74610000008000000000";

fn born() -> Configuration {
    shared("a b", "all of (a, b)")
}

#[test]
fn version_1_is_what_a_cluster_is_born_with() {
    holds(BORN, &born());
}

const CHANGED: &str = "
    02020d000000616c6c206f662028612c206229010100000061020000000100000000000000000001
    00000061010000000a000000687474703a2f2f613a31010000000a000000687474703a2f2f613a32
    020000000000000001010100000062010000000a000000687474703a2f2f623a31010000000a0000
    00687474703a2f2f623a32010000000500000071756f746100000080000000000100000000000000
    01000000000000000700000000000000020000000000000001000000000000000101000000620100
    00000900000000000000030000006f6c64";

fn changed() -> Configuration {
    let change = ChangeState {
        request: request(7),
        promote: Some(NodeId(2)),
        remove: Some(NodeId(1)),
        quorum: Some("b".into()),
        removed: vec![(NodeId(9), "old".into())],
        ..ChangeState::default()
    };
    let mut config = Configuration { change, joint: Some("a".into()), ..born() };
    config.members[1].learner = true;
    config.rule = BallotRule::TermAndNode;
    config
}

#[test]
fn version_2_has_the_change_that_made_it() {
    holds(CHANGED, &changed());
}

const MARKED: &str = "
    03020d000000616c6c206f662028612c206229010100000061020000000100000000000000000001
    00000061010000000a000000687474703a2f2f613a31010000000a000000687474703a2f2f613a32
    020000000000000001010100000062010000000a000000687474703a2f2f623a31010000000a0000
    00687474703a2f2f623a32010000000500000071756f746100000080000000000100000000000000
    01000000000000000700000000000000020000000000000001000000000000000101000000620100
    00000900000000000000030000006f6c64010000000100000000000000";

fn marked() -> Configuration {
    let mut config = changed();
    config.change.out = vec![NodeId(1)];
    config
}

#[test]
fn version_3_has_the_members_marked_out() {
    holds(MARKED, &marked());
}

const LIVES: &str = "
    04020d000000616c6c206f662028612c206229010100000061020000000100000000000000000001
    00000061010000000a000000687474703a2f2f613a31010000000a000000687474703a2f2f613a32
    020000000000000001010100000062010000000a000000687474703a2f2f623a31010000000a0000
    00687474703a2f2f623a32010000000500000071756f746100000080000000000100000000000000
    01000000000000000700000000000000020000000000000001000000000000000101000000620100
    00000900000000000000030000006f6c640100000001000000000000000105000000000000000600
    00000000000000000000000000000000000000000000";

fn lives() -> Configuration {
    let mut config = marked();
    config.members[0].life = life(5, 6);
    config.change.founding = true;
    config
}

#[test]
fn version_4_has_the_lives_of_members() {
    holds(LIVES, &lives());
}

const SLOTTED: &str = "
    05020d000000616c6c206f662028612c206229010100000061020000000100000000000000000001
    00000061010000000a000000687474703a2f2f613a31010000000a000000687474703a2f2f613a32
    020000000000000001010100000062010000000a000000687474703a2f2f623a31010000000a0000
    00687474703a2f2f623a32010000000500000071756f746100000080000000000100000000000000
    01000000000000000700000000000000020000000000000001000000000000000101000000620100
    00000900000000000000030000006f6c640100000001000000000000000105000000000000000600
    0000000000000000000000000000000000000000000001";

#[test]
fn version_5_has_the_slot_that_was_given_last() {
    let mut config = lives();
    config.change.slot_last = Some(1);
    holds(SLOTTED, &config);
}

/// It is written for another protocol than Raft, and there is none yet.
#[test]
fn version_6_names_its_protocol_and_one_that_is_not_known_is_refused_by_name() {
    let mut bytes = bytes_of(BORN);
    bytes[0] = 6;
    bytes.insert(1, 9);
    let unknown = DecodeError::Unknown { what: "protocol", value: 9 };
    assert_eq!(Configuration::decode(&bytes), Err(unknown));
}
