//! The users of the doors: accounts with a password that is known, since old wires sign in with one.

use std::{collections::BTreeMap, fs, io, net::SocketAddr, sync::Arc};

use chinwag_client::Http;
use chinwag_protocol::Device;
use tokio::{
    sync::{Barrier, Semaphore},
    task::JoinSet,
};

use super::{
    super::{machine, messages::lost, target::Target},
    Wire,
    drive::Link,
    pipe_line::PipeLine,
    socket_io::SocketIo,
    tag_json::TagJson,
    tcp_json::TcpJson,
    udp_ack::UdpAck,
};
use crate::{
    exit::{Outcome, Stop},
    show::Progress,
};

/// Of every account of this load test, on a server that lives as long as the test.
const PASSWORD: &str = "load test of the doors";

/// How a user of a wire is called.
pub(super) fn name(wire: Wire, number: u32) -> String {
    format!("{}-{number}", wire.name().replace('_', "-"))
}

/// Makes the first `count` accounts of a wire, as far as they are not there from an earlier run.
pub(super) async fn register(target: &Target, wire: Wire, count: u32) -> Outcome {
    let file = target.data.as_deref().map(|data| data.join("bench-doors.json"));
    let mut known: BTreeMap<String, u32> = file
        .as_deref()
        .and_then(|file| serde_json::from_slice(&fs::read(file).ok()?).ok())
        .unwrap_or_default();
    let before = known.get(wire.name()).copied().unwrap_or(0);
    let (room, mut tasks) = (Arc::new(Semaphore::new(machine::cores() * 2)), JoinSet::new());
    for number in before..count {
        let (server, room) = (target.server.clone(), Arc::clone(&room));
        tasks.spawn(async move {
            let _turn = room.acquire().await;
            let device = Device {
                handle: name(wire, number),
                password: PASSWORD.to_owned(),
                device: "bench".to_owned(),
                invite: None,
                cookie: false,
            };
            Http { server, token: None }.register(&device).await.map_err(Stop::from)
        });
    }
    let (mut progress, of) = (Progress::new("registered"), tasks.len());
    while let Some(made) = tasks.join_next().await {
        made.map_err(|error| Stop::Failed(error.into()))??;
        progress.step(of - tasks.len(), of);
    }
    if let Some(file) = file {
        known.insert(wire.name().to_owned(), count.max(before));
        fs::write(file, serde_json::to_vec(&known).map_err(|error| Stop::Failed(error.into()))?)?;
    }
    Ok(())
}

/// Signs the first `count` users of a door in, in their order. Whoever is in stays so until all are.
pub(super) async fn sign_in(at: SocketAddr, wire: Wire, count: u32) -> Outcome<Vec<Link>> {
    let (room, mut tasks) = (Arc::new(Semaphore::new(machine::cores() * 2)), JoinSet::new());
    let all = Arc::new(Barrier::new(count as usize));
    for number in 0..count {
        let (room, all) = (Arc::clone(&room), Arc::clone(&all));
        tasks.spawn(async move {
            let turn = room.acquire().await;
            let mut link = enter(at, wire, &name(wire, number)).await?;
            drop(turn);
            tokio::select! {
                stayed = link.stay(|_link| false) => stayed?,
                _ = all.wait() => {}
            }
            link.stay(Link::is_here).await?;
            Ok::<_, io::Error>((number, link))
        });
    }
    let (mut progress, mut links) = (Progress::new("signed in"), BTreeMap::new());
    while let Some(entered) = tasks.join_next().await {
        let (number, link) = entered.map_err(|error| Stop::Failed(error.into()))?.map_err(lost)?;
        links.insert(number, link);
        progress.step(links.len(), count as usize);
    }
    Ok(links.into_values().collect())
}

async fn enter(at: SocketAddr, wire: Wire, name: &str) -> io::Result<Link> {
    Ok(match wire {
        Wire::TcpJson => Link::TcpJson(TcpJson::sign_in(at, name, PASSWORD).await?),
        Wire::TagJson => Link::TagJson(TagJson::sign_in(at, name, PASSWORD).await?),
        Wire::SocketIo => Link::SocketIo(SocketIo::sign_in(at, name, PASSWORD).await?),
        Wire::PipeLine => Link::PipeLine(PipeLine::sign_in(at, name, PASSWORD).await?),
        Wire::UdpAck => Link::UdpAck(UdpAck::sign_in(at, name).await?),
        Wire::Native | Wire::NativeSingle => return Err(io::Error::other("this is no door")),
    })
}

/// Lets each two write to each other.
pub(super) async fn introduce(wire: Wire, links: &mut [Link]) -> io::Result<()> {
    for (number, link) in (0_u32..).zip(links) {
        let other = name(wire, number ^ 1);
        match link {
            Link::TcpJson(link) => link.write_to(&other).await?,
            Link::TagJson(link) => link.write_to(&other),
            Link::SocketIo(link) => link.write_to(&other).await?,
            Link::PipeLine(link) => link.write_to(&other),
            Link::UdpAck(link) => link.write_to(&other),
            Link::Native(_) => {}
        }
    }
    Ok(())
}
