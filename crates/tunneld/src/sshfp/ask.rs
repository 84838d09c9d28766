//! Asking the resolver of /etc/resolv.conf, in one message each way (RFC 1035 section 4).
//!
//! getaddrinfo(3), which finds the host itself, knows no records but addresses.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use resolv_conf::Config;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE, header_buffer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;
use tunneld_ssh::error::os_reason;

use super::{Credit, Record};

/// Where resolvers are named: resolv.conf(5).
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// More of it than this is not read, in bytes.
const MAX_CONF_LEN: u64 = 64 << 10;
/// More resolvers than these are not asked, as by glibc (MAXNS).
const MAX_RESOLVERS: usize = 3;
/// How long all of them together may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// When a question is put once more: a datagram may be lost.
const AGAIN: Duration = Duration::from_secs(1);
/// The port of the DNS.
const PORT: u16 = 53;
const NONSENSE: &str = "what it says makes no sense";
/// What comes before the question (RFC 1035 section 4.1.1), in bytes.
const HEADER_LEN: usize = 12;
/// The type SSHFP (RFC 4255 section 3.1).
const SSHFP: u16 = 44;
/// The longest message that comes by UDP to who does not ask for more (RFC 1035 section 4.2.1);
/// some send more all the same.
const MAX_DATAGRAM: usize = 4096;

/// What the first resolver that answers says of `host`, which is taken as a full name; or what came
/// of asking each of them.
pub(super) async fn ask(host: &str) -> Result<(Credit, Vec<Record>), String> {
    let query = Query::new(host).ok_or("not asked: the host's name is none of the DNS")?;
    let conf = read_conf().map_err(|e| format!("cannot read {RESOLV_CONF}: {}", os_reason(&e)))?;
    let mut resolvers = conf.get_nameservers_or_local();
    resolvers.truncate(MAX_RESOLVERS);
    let deadline = Instant::now() + PATIENCE;
    let mut left = u32::try_from(resolvers.len()).unwrap_or(1);
    let mut failed = Vec::new();
    for resolver in resolvers {
        // What one of them leaves over is for those after it.
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        let resolver = resolver.to_string();
        failed.push(
            match tokio::time::timeout(share, query.ask(&resolver)).await {
                Ok(Ok(answer)) => return Ok(answer.believed(conf.trust_ad)),
                Ok(Err(why)) => format!("the resolver {resolver} has no answer: {why}"),
                Err(_) => {
                    let seconds = (share.as_secs_f64() * 10.0).round() / 10.0;
                    format!("the resolver {resolver} did not answer in {seconds}s")
                }
            },
        );
    }
    Err(failed.join("; "))
}

/// A file that is missing is an empty one, as for glibc: then the resolver is on this machine.
fn read_conf() -> io::Result<Config> {
    let mut bytes = Vec::new();
    match File::open(RESOLV_CONF) {
        Ok(file) => file.take(MAX_CONF_LEN).read_to_end(&mut bytes)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        Err(e) => return Err(e),
    };
    // What is wrong in it is passed over, as by glibc.
    Ok(Config::parse_with_errors(&bytes).0)
}

/// A question, as it is sent.
struct Query {
    id: u16,
    bytes: Vec<u8>,
}

/// What a resolver has said.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// The AD bit.
    authentic: bool,
    records: Vec<Record>,
}

impl Answer {
    fn believed(self, trust_ad: bool) -> (Credit, Vec<Record>) {
        let credit = match (self.authentic, trust_ad) {
            (true, true) => Credit::Vouched,
            (true, false) => Credit::Claimed,
            (false, _) => Credit::Nothing,
        };
        (credit, self.records)
    }
}

/// What a message is that has come.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    Answer(Result<Answer, String>),
    /// There is more of it than fits into a datagram.
    Truncated,
    /// Of something else.
    Foreign,
}

impl Query {
    fn new(host: &str) -> Option<Self> {
        let mut id = [0; 2];
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).ok()?;
        Self::with_id(host, u16::from_ne_bytes(id))
    }

    fn with_id(host: &str, id: u16) -> Option<Self> {
        let mut packet = Packet::new_query(id);
        // AD in a question says that the bit is understood in the answer (RFC 6840 section 5.7).
        packet.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::AUTHENTIC_DATA);
        packet.questions.push(Question::new(
            Name::new(host).ok()?,
            TYPE::Unknown(SSHFP).into(),
            CLASS::IN.into(),
            false,
        ));
        let bytes = packet.build_bytes_vec().ok()?;
        Some(Query { id, bytes })
    }

    /// By UDP, and again by TCP if the answer does not fit.
    async fn ask(&self, resolver: &str) -> Result<Answer, String> {
        let reason = |e: io::Error| os_reason(&e);
        match self.by_udp(resolver).await.map_err(reason)? {
            Some(answer) => answer,
            None => self.by_tcp(resolver).await.map_err(reason)?,
        }
    }

    /// `None` if the answer does not fit.
    async fn by_udp(&self, resolver: &str) -> io::Result<Option<Result<Answer, String>>> {
        let from = match resolver.contains(':') {
            true => "[::]:0",
            false => "0.0.0.0:0",
        };
        let socket = UdpSocket::bind(from).await?;
        socket.connect((resolver, PORT)).await?;
        socket.send(&self.bytes).await?;
        let mut bytes = [0; MAX_DATAGRAM];
        let again = tokio::time::sleep(AGAIN);
        tokio::pin!(again);
        let mut once_more = true;
        loop {
            let n = tokio::select! {
                received = socket.recv(&mut bytes) => received?,
                () = &mut again, if once_more => {
                    once_more = false;
                    socket.send(&self.bytes).await?;
                    continue;
                }
            };
            match self.read(bytes.get(..n).unwrap_or_default()) {
                Message::Answer(answer) => return Ok(Some(answer)),
                Message::Truncated => return Ok(None),
                // Anybody can send datagrams: the true answer may still come.
                Message::Foreign => {}
            }
        }
    }

    async fn by_tcp(&self, resolver: &str) -> io::Result<Result<Answer, String>> {
        let mut stream = TcpStream::connect((resolver, PORT)).await?;
        // The length comes first (RFC 1035 section 4.2.2).
        let len = u16::try_from(self.bytes.len()).unwrap_or_default();
        let message = [&len.to_be_bytes()[..], &self.bytes].concat();
        stream.write_all(&message).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        Ok(match self.read(&answer) {
            Message::Answer(answer) => answer,
            Message::Truncated | Message::Foreign => Err(NONSENSE.to_owned()),
        })
    }

    fn read(&self, bytes: &[u8]) -> Message {
        // The question comes back as it was put, perhaps in other letters, and first of all.
        let end = self.bytes.len();
        let question = self.bytes.get(HEADER_LEN..).unwrap_or_default();
        let repeated = bytes.get(HEADER_LEN..end).unwrap_or_default();
        if !question.eq_ignore_ascii_case(repeated) {
            return Message::Foreign;
        }
        let has = |flags| header_buffer::has_flags(bytes, flags) == Ok(true);
        if header_buffer::id(bytes) != Ok(self.id) || !has(PacketFlag::RESPONSE) {
            return Message::Foreign;
        }
        if has(PacketFlag::TRUNCATION) {
            return Message::Truncated;
        }
        // The library reads records of any type, but no question for a type that it has no name of.
        let mut bytes = bytes.to_vec();
        bytes.splice(end - 4..end - 2, u16::from(TYPE::NULL).to_be_bytes());
        Message::Answer(match Packet::parse(&bytes) {
            Ok(packet) => answer(&packet),
            Err(_) => Err(NONSENSE.to_owned()),
        })
    }
}

fn answer(packet: &Packet) -> Result<Answer, String> {
    match packet.rcode() {
        RCODE::NoError | RCODE::NameError => Ok(Answer {
            authentic: packet.has_flags(PacketFlag::AUTHENTIC_DATA),
            records: records(packet),
        }),
        // What a resolver says of a zone whose signatures are wrong, too.
        RCODE::ServerFailure => Err("server failure".to_owned()),
        RCODE::Refused => Err("refused".to_owned()),
        _ => Err("it does not understand the question".to_owned()),
    }
}

/// The records of the answer, whatever alias they belong to: AD speaks of all of them.
fn records(packet: &Packet) -> Vec<Record> {
    let answers = packet.answers.iter();
    let records = answers.filter_map(|record| match &record.rdata {
        RData::NULL(SSHFP, data) if record.class == CLASS::IN => Record::parse(data.get_data()),
        _ => None,
    });
    records.collect()
}

#[cfg(test)]
mod tests;
