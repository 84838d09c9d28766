//! Walking through the files for one host: which blocks hold, and what their lines say.

use super::answer::{Answer, Place};
use super::block::{Block, Facts, Verdict};
use super::finish::{finish, host};
use super::gather::Gathered;
use super::judge::Judge;
use super::keywords::similar;
use super::parse::{Fault, Line, What};
use super::pattern::list_matches_any_case;
use super::sources::{Problem, Sources};
use crate::config::quoted;

/// How deep files may include each other, as with ssh.
const MAX_DEPTH: usize = 16;

/// How many lines are walked through for one host: files may include a file many times.
const MAX_WALKED: usize = 200_000;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The host, as it is written where it is used.
    pub host: &'a str,
    /// The login name that is written there.
    pub user: Option<&'a str>,
    /// The port that is written there.
    pub port: Option<u16>,
    /// The keywords, as ssh_config(5) spells them, whose values are written there: what the files
    /// say to them does not matter.
    pub decided: &'a [&'static str],
    /// Whether there is a password to log in with.
    pub has_password: bool,
}

impl<'a> Query<'a> {
    /// What the files say about `host`, of which nothing else is known.
    pub fn new(host: &'a str) -> Self {
        Query {
            host,
            user: None,
            port: None,
            decided: &[],
            has_password: false,
        }
    }
}

/// What the files say about a host, and what in it is not supported. Lines that are wrong by
/// themselves are in [`Sources::problems`], and passed over here.
pub fn evaluate(sources: &Sources, query: &Query<'_>) -> Answer {
    let mut walk = Walk {
        sources,
        query,
        found: Gathered::default(),
        problems: Vec::new(),
        judged: Vec::new(),
        last: None,
        wants_last: false,
        walked: 0,
    };
    walk.file(0, true, false, &mut Vec::new());
    if walk.wants_last {
        walk.last = Some(host(walk.found.host_name.as_ref(), query));
        walk.file(0, true, false, &mut Vec::new());
    }
    finish(walk.found, query, &sources.environment, walk.problems)
}

struct Walk<'a> {
    sources: &'a Sources,
    query: &'a Query<'a>,
    found: Gathered,
    problems: Vec<Problem>,
    /// Keywords of which the first value was seen.
    judged: Vec<&'static str>,
    /// In the second pass: the host that the first one has found.
    last: Option<String>,
    wants_last: bool,
    walked: usize,
}

impl Walk<'_> {
    /// Walks through a file. `holds` says whether its first lines are for the host; with `never` none
    /// are, and it is read for its mistakes only.
    fn file(&mut self, file: usize, mut holds: bool, never: bool, within: &mut Vec<usize>) {
        let sources = self.sources;
        let Some(source) = sources.files.get(file) else {
            return;
        };
        within.push(file);
        for line in &source.lines {
            if self.walked >= MAX_WALKED {
                break;
            }
            self.walked += 1;
            if self.walked == MAX_WALKED {
                let said =
                    format!("there are more than {MAX_WALKED} lines with those of `Include`");
                self.report(file, line, said, None);
            }
            match &line.what {
                What::Block(block) => holds = self.block(file, block) && !never,
                What::Include(patterns) => {
                    for pattern in patterns {
                        let found = sources.included.get(pattern).and_then(|f| f.as_ref().ok());
                        for inner in found.into_iter().flatten() {
                            self.include(file, line, *inner, holds, within);
                        }
                    }
                }
                What::Unknown(keyword) => self.unknown(file, line, keyword),
                _ if !holds => {}
                What::Set(setting) => {
                    let decided = self.query.decided.contains(&line.keyword);
                    let place = Place {
                        file,
                        line: line.number,
                        span: line.span.clone(),
                    };
                    if !decided && let Err(why) = self.found.take(setting, &place) {
                        self.report(file, line, format!("`{}` {why}", line.keyword), None);
                    }
                }
                What::Judged(judge, words) => self.judge(file, line, judge, words),
                What::Unused(words) => {
                    let place = Place {
                        file,
                        line: line.number,
                        span: line.span.clone(),
                    };
                    self.found.unused(line.keyword, words, place);
                }
            }
        }
        within.pop();
    }

    /// Whether a block holds for the host.
    fn block(&mut self, file: usize, block: &Block) -> bool {
        self.wants_last |= block.wants_last_pass() && self.last.is_none();
        let query = self.query;
        let environment = &self.sources.environment;
        let host_name = match &self.last {
            Some(host) => host.clone(),
            None => host(self.found.host_name.as_ref(), query),
        };
        let user = self.found.user.as_ref().map(|v| v.value.as_str());
        let local_user = environment.user.as_deref();
        let facts = Facts {
            host: self.last.as_deref().unwrap_or(query.host),
            host_name: &host_name,
            original_host: query.host,
            user: query.user.or(user).or(local_user),
            local_user,
            last: self.last.is_some(),
        };
        let (span, name) = match block.holds(&facts) {
            Verdict::Yes => return true,
            Verdict::No => return false,
            Verdict::Unknown(span, name) => (span.clone(), name),
        };
        let host = quoted(query.host);
        let fault = Fault {
            help: Some(
                "write what the block says into the tunnel, and exclude the host from it with \
                 `!host`, or name another file in `ssh_config`"
                    .to_owned(),
            ),
            ..Fault::new(
                span,
                format!("tunneld cannot tell whether `Match {name}` holds for {host}"),
            )
        };
        self.problems.push(Problem::new(file, fault));
        false
    }

    fn include(
        &mut self,
        file: usize,
        line: &Line,
        inner: usize,
        holds: bool,
        within: &mut Vec<usize>,
    ) {
        if within.contains(&inner) {
            self.report(
                file,
                line,
                "this includes a file in itself".to_owned(),
                None,
            );
        } else if within.len() > MAX_DEPTH {
            let said = format!("files include each other more than {MAX_DEPTH} deep");
            self.report(file, line, said, None);
        } else {
            self.file(inner, holds, !holds, within);
        }
    }

    fn unknown(&mut self, file: usize, line: &Line, keyword: &str) {
        let ignored = self.found.ignore_unknown.as_ref();
        if ignored.is_some_and(|list| list_matches_any_case(keyword, &list.value)) {
            return;
        }
        let help = match similar(keyword) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "ssh does not know it either, unless `IgnoreUnknown` names it before".to_owned()
            }
        };
        let said = format!("unknown keyword {}", quoted(keyword));
        self.report(file, line, said, Some(help));
    }

    /// A keyword that is not taken over: its first value has to be one that makes no difference.
    fn judge(&mut self, file: usize, line: &Line, judge: &Judge, words: &[String]) {
        if self.judged.contains(&line.keyword) {
            return;
        }
        self.judged.push(line.keyword);
        let shown: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Some((because, help)) = judge.complaint(&shown, self.query) {
            // A secret may be among the arguments of a command.
            let value = match (line.keyword, shown.as_slice()) {
                ("KnownHostsCommand", [program, _, ..]) => format!("{program} …"),
                _ => shown.join(" "),
            };
            let written = quoted(&format!("{} {value}", line.keyword));
            let said = format!("{written} is not supported: {because}");
            self.report(file, line, said, Some(help.to_owned()));
        }
    }

    fn report(&mut self, file: usize, line: &Line, message: String, help: Option<String>) {
        let fault = Fault {
            help,
            ..Fault::new(line.span.clone(), message)
        };
        self.problems.push(Problem::new(file, fault));
    }
}
