//! Faults of what lies on the disk and around the process: full, damaged and old stores, rights, memory, clocks, logs.

mod around;
mod clock;
mod copies;
mod damage;
mod full;
mod logs;
mod tools;
pub(super) mod uploads;

use super::{Scenario, Verdict};

pub(super) const ALL: &[Scenario] = &[
    Scenario { id: "F06", what: "a disk that loses what it took and says so once", run: full::lost_writes },
    Scenario { id: "F07", what: "disk full", run: full::full_disk },
    Scenario { id: "F08", what: "a folder that cannot be used", run: full::unusable },
    Scenario { id: "F10", what: "bits that turn over in a stopped store", run: damage::flips },
    Scenario { id: "F12", what: "too little memory", run: around::memory },
    Scenario { id: "F21", what: "cut during an upload", run: uploads::cut },
    Scenario { id: "F26", what: "the clock jumps", run: clock::jumps },
    Scenario { id: "F27", what: "clients and servers of other years", run: clock::years },
    Scenario { id: "F37", what: "killed at each write of the first opening", run: damage::migration },
    Scenario { id: "F38", what: "a backup under load is restored", run: copies::under_load },
    Scenario { id: "F39", what: "an old backup under clients that know more", run: copies::old },
    Scenario { id: "F41", what: "certificates expire or are replaced", run: no_certificates },
    Scenario { id: "F42", what: "the log cannot be written", run: logs::stuck },
    Scenario { id: "F43", what: "no network, no names", run: around::offline },
];

#[expect(clippy::unnecessary_wraps, reason = "the shape of every scenario")]
fn no_certificates(_: &super::Bed) -> anyhow::Result<Verdict> {
    Ok(Verdict::Skipped(
        "this program speaks no TLS: certificates are the matter of the proxy before it (docs/operating.md)"
            .to_owned(),
    ))
}
