//! One connection: login, then statement by statement.

use std::{io, sync::Arc};

use tokio::{
    io::{copy, sink},
    net::TcpStream,
    time::sleep,
};

use super::{
    cluster::Memory,
    greeting::Login,
    login::greet,
    reply::{Reply, SqlError, Table},
    shared::Shared,
    wire::{self, Wire},
};

/// The commands of the protocol that are understood.
mod command {
    pub(super) const QUIT: u8 = 1;
    pub(super) const USE: u8 = 2;
    pub(super) const QUERY: u8 = 3;
    pub(super) const PING: u8 = 14;
}

pub(super) async fn serve(stream: TcpStream, number: usize, id: u32, shared: Arc<Shared>) {
    let present = Present { id, shared: &shared };
    // An error is a client that went away, which a test does on purpose.
    let _ = converse(stream, number, id, &shared).await;
    drop(present);
}

/// The connection's row in the list, which ends with it.
struct Present<'a> {
    id: u32,
    shared: &'a Shared,
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.shared.leave(self.id);
    }
}

async fn converse(stream: TcpStream, number: usize, id: u32, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut login = Login { connection: number, ..Login::default() };
    let Some(mut wire) = greet(stream, &mut login, id, shared).await? else { return Ok(()) };
    let mut memory = Memory::new(id);
    loop {
        let packet = wire.receive().await?;
        let (command, body) = packet.split_first().map_or((0, &[][..]), |(command, body)| (*command, body));
        let text = match command {
            command::QUIT => return Ok(()),
            command::PING | command::USE => {
                wire.send(wire::ok()).await?;
                continue;
            }
            command::QUERY => String::from_utf8_lossy(body).into_owned(),
            // A prepared statement, for one.
            other => format!("command {other}"),
        };
        let Some(reply) = shared.reply_to(number, &text, id) else { return Ok(()) };
        let execute = |memory: &mut Memory| match command {
            command::QUERY => shared.execute(&text, memory),
            _ => Err(SqlError::new(1047, "08S01", "Unknown command")),
        };
        if !answer(&mut wire, reply, &mut memory, execute, shared).await? {
            return Ok(());
        }
    }
}

/// Answers a statement. Returns whether the connection goes on.
async fn answer(
    wire: &mut Wire,
    reply: Reply,
    memory: &mut Memory,
    execute: impl Fn(&mut Memory) -> Result<Option<Table>, SqlError>,
    shared: &Shared,
) -> io::Result<bool> {
    match reply {
        Reply::Execute => wire.answer(&execute(memory)).await?,
        Reply::Rows(table) => wire.answer(&Ok(Some(table))).await?,
        Reply::Ok => wire.answer(&Ok(None)).await?,
        Reply::Err(error) => wire.answer(&Err(error)).await?,
        Reply::Close => return Ok(false),
        Reply::CloseAfterExecuting => {
            let _ = execute(memory);
            return Ok(false);
        }
        Reply::Hang => hang(wire).await?,
        Reply::HangAfterExecuting => {
            let _ = execute(memory);
            hang(wire).await?;
        }
        Reply::Late(pause) => {
            sleep(pause).await;
            wire.answer(&execute(memory)).await?;
        }
        Reply::Drip { bytes, pause } => {
            let whole = wire.encoded(&execute(memory));
            for part in whole.chunks(bytes.max(1)) {
                wire.send_raw(part).await?;
                sleep(pause).await;
            }
        }
        Reply::Cut(length) => {
            let whole = wire.encoded(&execute(memory));
            wire.send_raw(&whole[..length.min(whole.len())]).await?;
            return Ok(false);
        }
        Reply::Garbage(bytes) => wire.send(bytes).await?,
        Reply::Raw(bytes) => wire.send_raw(&bytes).await?,
        Reply::Huge => {
            wire.send_raw(&wire::header(0xff_ffff, wire.sequence)).await?;
            loop {
                wire.send_raw(&[0; 1 << 14]).await?;
            }
        }
        Reply::LocalInfile(path) => {
            wire.send([&[0xfb], path.as_bytes()].concat()).await?;
            // The content, and an empty packet. A client that does not send it goes away.
            let mut content = vec![];
            loop {
                let part = wire.receive().await?;
                if part.is_empty() {
                    break;
                }
                content.extend(part);
            }
            shared.note_file(content);
            wire.send(wire::ok()).await?;
        }
    }
    Ok(true)
}

/// Until the client goes away.
async fn hang(wire: &mut Wire) -> io::Result<()> {
    copy(&mut wire.stream, &mut sink()).await?;
    Err(io::ErrorKind::UnexpectedEof.into())
}
