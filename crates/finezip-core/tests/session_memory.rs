//! What models say their sessions take is held against the limits, by readers and by writers alike.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use finezip_core::{
    Compressor, Decompressor, Error, Exactness, Form, Language, LanguageModel, Limits, Message,
    MessageCoder, ModelIdentity, PrimedModel, RecordRule, Result, Session, SessionShape, TokenId,
    Window,
};
use support::{Chunks, HashModel, TEXT, Words, language};

/// Tokens of the window; a lane takes a byte for each.
const WINDOW: usize = 5;

/// Words of the model's among letters that do not repeat: nothing else makes it smaller.
const LINE: &[u8] = b"the Jand 7of Qing Zthe xand Kof 4ing Wthe band\n";

/// The hash model with lanes in groups, which take as much where they are not full. Remembers the
/// most lanes of a session that was opened.
struct Grouped {
    model: HashModel,
    group_lanes: u64,
    most: AtomicUsize,
}

impl Grouped {
    fn new(group_lanes: u64) -> Arc<Self> {
        let model = HashModel::new(Exactness::Everywhere);
        Arc::new(Self { model, group_lanes, most: AtomicUsize::new(0) })
    }

    /// The most lanes of a session since this was asked last.
    fn opened(&self) -> usize {
        self.most.swap(0, Ordering::Relaxed)
    }
}

impl LanguageModel for Grouped {
    fn identity(&self) -> &ModelIdentity {
        self.model.identity()
    }

    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn start_token(&self) -> TokenId {
        self.model.start_token()
    }

    fn max_window(&self) -> usize {
        self.model.max_window()
    }

    fn can_roll(&self) -> bool {
        self.model.can_roll()
    }

    fn lane_bytes(&self, window: Window) -> u64 {
        window.tokens as u64
    }

    fn session_bytes(&self, shape: SessionShape) -> u64 {
        let groups = (shape.lanes as u64).div_ceil(self.group_lanes);
        groups * self.group_lanes * self.lane_bytes(shape.window)
    }

    fn open_session<'a>(&'a self, shape: SessionShape) -> Result<Box<dyn Session + 'a>> {
        self.most.fetch_max(shape.lanes, Ordering::Relaxed);
        self.model.open_session(shape)
    }
}

/// A compressor with a text of frames that the model codes in 8 lanes, and one with a text of
/// records of which it codes each.
fn cases(model: &Arc<Grouped>) -> [(Compressor, Vec<u8>); 2] {
    let builder = || {
        let model = Arc::clone(model) as Arc<dyn LanguageModel>;
        let chunks = Chunks { chunk: WINDOW, lanes: 8, overlap: 0 };
        Compressor::builder()
            .language(Language { model, ..language(Exactness::Everywhere, chunks) })
    };
    let frames = builder().frame_bytes(TEXT.len()).build().unwrap();
    let lines = builder().records(RecordRule::LINES).build().unwrap();
    [(frames, [TEXT, TEXT].concat()), (lines, LINE.repeat(45))]
}

#[test]
fn by_default_a_session_takes_what_its_lanes_take() {
    let model = HashModel::new(Exactness::Everywhere);
    let window = Window { tokens: WINDOW, sinks: 0, rolling: false };
    let bytes = |lanes| model.session_bytes(SessionShape { lanes, window });
    assert_eq!([bytes(0), bytes(1), bytes(7)], [0, 8, 56]);
}

#[test]
fn a_session_above_the_limit_is_refused_by_the_reader() {
    let model = Grouped::new(3);
    let cases = cases(&model);
    // The 8 lanes of a frame are 3 groups. A frame of records takes the lanes there is room for.
    for (case, session_bytes, expected) in [
        (0, 45, Ok(8)),
        (0, 44, Err(45)),
        (1, 45, Ok(8)),
        (1, 44, Ok(6)),
        (1, 15, Ok(3)),
        (1, 14, Err(15)),
    ] {
        let (compressor, text) = &cases[case];
        let archive = compressor.compress(text).unwrap();
        assert_eq!(model.opened(), 8, "case {case} is not coded with the model");
        let limits = Limits { session_bytes, ..Limits::default() };
        let decompressor = Decompressor::new(compressor.components().clone()).with_limits(limits);
        let found = match decompressor.decompress(&archive) {
            Ok(found) => {
                assert_eq!(found, *text);
                Ok(model.opened())
            }
            Err(Error::Limit { what: "bytes of session memory", found, .. }) => Err(found),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, expected, "case {case}: {session_bytes} bytes");
        assert_eq!(model.opened(), 0, "a session above the limit was opened");
    }
}

/// Messages that are read together take the lanes there is room for, as records do.
#[test]
fn messages_are_held_against_limits() {
    let model = Grouped::new(3);
    let components = cases(&model)[1].0.components().clone();
    let coder = MessageCoder::new(components).unwrap();
    let messages = coder.compress_all(&[LINE; 9]).unwrap();
    assert_eq!(Message::parse(&messages[0]).unwrap().form, Form::Model);
    assert_eq!(model.opened(), 8);
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    for (session_bytes, expected) in [(45, Ok(8)), (44, Ok(6)), (15, Ok(3)), (14, Err(15))] {
        let limits = Limits { session_bytes, ..Limits::default() };
        let found = match coder.clone().with_limits(limits).decompress_all(&messages) {
            Ok(texts) => {
                assert_eq!(texts, [LINE; 9]);
                Ok(model.opened())
            }
            Err(Error::Limit { what: "bytes of session memory", found, .. }) => Err(found),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, expected, "{session_bytes} bytes");
        assert_eq!(model.opened(), 0, "a session above the limit was opened");
    }
}

/// What no reader would take is not written.
#[test]
fn a_session_above_what_readers_take_is_refused_by_the_writer() {
    let fitting = Limits::default().session_bytes / WINDOW as u64;
    for (group_lanes, taken) in [(fitting, true), (fitting + 1, false)] {
        let model = Grouped::new(group_lanes);
        for (compressor, text) in cases(&model) {
            let made = compressor.compress(&text);
            assert_eq!(model.opened() > 0, taken);
            match made {
                Ok(_) => assert!(taken, "groups of {group_lanes} were taken"),
                Err(Error::Settings(said)) => {
                    assert!(!taken && said.contains("memory for a session"), "{said}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_primed_session_takes_what_its_model_says_of_the_wider_window() {
    let primed = PrimedModel::new(Grouped::new(3), &Words, b"the end of the ".to_vec()).unwrap();
    let window = Window { tokens: WINDOW, sinks: 0, rolling: false };
    let bytes = |lanes| primed.session_bytes(SessionShape { lanes, window });
    assert!(primed.lane_bytes(window) > WINDOW as u64);
    assert_eq!(bytes(1), 3 * primed.lane_bytes(window));
    assert_eq!(bytes(4), 6 * primed.lane_bytes(window));
}
