//! A language model of one's own: counts of bytes after up to four others.
use finezip_core::*;
use std::{collections::HashMap, sync::Arc};

struct Counts(ModelIdentity);

impl LanguageModel for Counts {
    fn identity(&self) -> &ModelIdentity { &self.0 }
    fn vocab_size(&self) -> usize { 256 }
    fn start_token(&self) -> TokenId { 0 }
    fn max_window(&self) -> usize { usize::MAX }
    fn can_roll(&self) -> bool { true }
    fn lane_bytes(&self, _: Window) -> u64 { 1 << 20 }
    fn open_session<'a>(&'a self, shape: SessionShape) -> Result<Box<dyn Session + 'a>> {
        Ok(Box::new(CountsSession { lanes: vec![Lane::default(); shape.lanes] }))
    }
}

/// How often each byte followed each of the last 0 to 4 bytes.
#[derive(Clone, Default)]
struct Lane { last: Vec<u8>, seen: HashMap<Vec<u8>, [f32; 256]> }

struct CountsSession { lanes: Vec<Lane> }

impl Session for CountsSession {
    fn feed(&mut self, feeds: &[LaneFeed<'_>], logits: &mut Logits) -> Result<()> {
        let rows: usize = feeds.iter().map(|feed| feed.rows).sum();
        let mut rows = logits.resize(rows, 256).chunks_mut(256);
        for feed in feeds {
            let Lane { last, seen } = &mut self.lanes[feed.lane];
            for (i, &token) in feed.tokens.iter().enumerate() {
                for from in 0..=last.len() { seen.entry(last[from..].to_vec()).or_insert([0.0; 256])[token as usize] += 1.0; }
                last.push(token as u8);
                if last.len() > 4 { last.remove(0); }
                let Some(row) = (i + feed.rows >= feed.tokens.len()).then(|| rows.next()).flatten() else { continue };
                let known: Vec<_> = (0..=last.len()).filter_map(|from| Some((last.len() - from, seen.get(&last[from..])?))).collect();
                for (next, logit) in row.iter_mut().enumerate() {
                    *logit = known.iter().map(|(order, counts)| counts[next] * 12_f32.powi(*order as i32)).sum::<f32>().max(0.1).ln();
                }
            }
        }
        Ok(())
    }
    fn reset(&mut self, lane: usize) -> Result<()> { self.lanes[lane] = Lane::default(); Ok(()) }
}

fn main() -> Result<()> {
    let identity = ModelIdentity { name: "counts".into(), fingerprint: Fingerprint([2; 32]), engine: Record::new("counts", 1), adapter: None, exactness: Exactness::SameMachineKind(std::env::consts::ARCH.into()) };
    let language = Language { model: Arc::new(Counts(identity)), tokenizer: Arc::new(ByteTokenizer), schedule: Arc::new(SingleLane::new(1 << 20)), coder: Arc::new(ReferenceCoder) };
    let compressor = Compressor::builder().language(language).build()?;
    let text = include_bytes!("../../../docs/format.md");
    let mut archive = vec![];
    let summary = compressor.compress_stream(&mut &text[..], &mut archive, None)?;
    assert_eq!(summary.model_frames, 1);
    let back = Decompressor::new(compressor.components().clone()).decompress(&archive)?;
    assert_eq!(back, text);
    println!("{} bytes of text, {} bytes of archive, identical after decompression", text.len(), archive.len());
    Ok(())
}
