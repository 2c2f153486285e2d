//! Every cell of the table against the function, read here in another way than there.

use super::{Action, COLUMNS, Grounds, ROWS, Verdict, Who, permit};

/// What nothing and everything speaks for.
fn extremes() -> [Grounds; 2] {
    let all = Grounds {
        public: true,
        readable: true,
        direct: true,
        member: true,
        admin_there: true,
        blocked: false,
        shares: true,
        outranks: true,
        alone: true,
        reported: true,
        sees_file: true,
        fresh: true,
        may_register: true,
        elsewhere: Some(Who::Owner),
    };
    [Grounds::default(), all]
}

type Grant = fn(&mut Grounds);

/// What each note asks for, and what it is otherwise.
const NOTES: [(u8, Grant, Verdict); 14] = [
    (3, |grounds| grounds.readable = true, Verdict::Hide),
    (5, |grounds| grounds.member = true, Verdict::Hide),
    (6, |grounds| grounds.admin_there = true, Verdict::Deny),
    (7, |grounds| grounds.blocked = false, Verdict::Hide),
    (8, |grounds| grounds.shares = true, Verdict::Hide),
    (9, |grounds| grounds.reported = true, Verdict::Deny),
    (10, |grounds| grounds.sees_file = true, Verdict::Hide),
    (13, |grounds| grounds.outranks = true, Verdict::Deny),
    (14, |grounds| grounds.alone = true, Verdict::Deny),
    (16, |grounds| grounds.fresh = true, Verdict::Deny),
    (17, |grounds| grounds.may_register = true, Verdict::Deny),
    (18, |grounds| grounds.direct = true, Verdict::Deny),
    (20, |_| {}, Verdict::Allow),
    (22, |grounds| (grounds.elsewhere, grounds.outranks) = (Some(Who::Owner), true), Verdict::Deny),
];

fn check_cell(action: Action, who: Who, cell: &str) {
    let (letter, note) = cell.split_at(1);
    let note: u8 = note.parse().unwrap_or(0);
    let asked = NOTES.iter().find(|(number, ..)| *number == note);
    let at = format!("{} for {who:?}: {cell}", action.word());
    for grounds in extremes() {
        let verdict = permit(who, action, &grounds);
        match letter {
            "Y" if !matches!(note, 7 | 13 | 16) => assert_eq!(verdict, Verdict::Allow, "{at}"),
            // A guest knows of nothing outside of what he is in.
            "N" if who == Who::Guest && !grounds.member => {
                let inside = !["list_users", "manage_users", "manage_server"].contains(&action.word());
                assert_eq!(verdict, if inside { Verdict::Hide } else { Verdict::Deny }, "{at}");
            }
            "N" => assert_eq!(verdict, Verdict::Deny, "{at}"),
            "H" | "-" => assert_eq!(verdict, Verdict::Hide, "{at}"),
            "n" => {
                assert_eq!(verdict, if grounds.public { Verdict::Deny } else { Verdict::Hide }, "{at}");
            }
            "c" if matches!(note, 2 | 11 | 15 | 19) => assert_ne!(verdict, Verdict::Allow, "{at}"),
            _ => {}
        }
    }
    if let (true, Some((_, grant, otherwise))) = ("Yc".contains(letter), asked) {
        let mut grounds = Grounds { blocked: true, ..Grounds::default() };
        if note == 8 {
            grounds.blocked = false;
        }
        if !(note == 9 && action != Action::DeleteOther) {
            assert_eq!(permit(who, action, &grounds), *otherwise, "{at}, without grounds");
        }
        grant(&mut grounds);
        assert_eq!(permit(who, action, &grounds), Verdict::Allow, "{at}, with the ground its note asks for");
    }
}

#[test]
fn every_cell_of_the_table_is_what_is_decided() {
    let lines =
        include_str!("../policy.table").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["action", "An", "Su", "No", "Gu", "Re", "Ba", "Me", "Ad", "Ow", "SA", "Lg"]);
    let mut cells = 0;
    for (row, action) in rows[1..].iter().zip(Action::ALL) {
        assert_eq!((row[0], row.len()), (action.word(), COLUMNS + 1));
        for (cell, who) in row[1..].iter().zip(Who::ALL) {
            check_cell(action, who, cell);
            cells += 1;
        }
    }
    assert_eq!((cells, rows.len()), (385, ROWS + 1));
}

/// Whatever speaks for him: nobody without a session may do anything but register, and a block never helps.
#[test]
fn fuzz_policy() {
    bolero::check!().with_type::<(u8, u8, u16)>().for_each(|(row, column, bits)| {
        let (action, who) = (Action::ALL[usize::from(*row) % ROWS], Who::ALL[usize::from(*column) % COLUMNS]);
        let bit = |at: u16| bits & (1 << at) != 0;
        let grounds = Grounds {
            public: bit(0),
            readable: bit(1),
            direct: bit(2),
            member: bit(3),
            admin_there: bit(4),
            blocked: bit(5),
            shares: bit(6),
            outranks: bit(7),
            alone: bit(8),
            reported: bit(9),
            sees_file: bit(10),
            fresh: bit(11),
            may_register: bit(12),
            elsewhere: bit(13).then_some(Who::Member),
        };
        let verdict = permit(who, action, &grounds);
        if verdict == Verdict::Allow {
            assert!(who != Who::Suspended);
            assert!(who != Who::Anonymous || action == Action::CreateAccount && grounds.may_register);
            assert!(action != Action::EditOther && action != Action::ActAfterRemoval);
            assert_eq!(permit(who, action, &Grounds { blocked: false, ..grounds }), Verdict::Allow);
        }
    });
}
