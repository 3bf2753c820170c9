//! What a decoder must have: written before the first frame that needs it.
//!
//! A list of fields, each a tag byte, a varint length and that many bytes, tags ascending. Tags
//! below 128 must be understood; others may be passed over.

use super::bytes::{ByteReader, Short, put_bytes, put_varint};
use super::{DESCRIPTOR_TAG, block_crc, content_hash, prime};
use crate::error::{Error, Result};
use crate::model::{Exactness, Fingerprint, ModelIdentity};
use crate::record::Record;

const MODEL_NAME: u8 = 1;
const MODEL_FINGERPRINT: u8 = 2;
const ENGINE: u8 = 3;
const MACHINE_KIND: u8 = 4;
const TOKENIZER: u8 = 5;
const SCHEDULE: u8 = 6;
const CODER: u8 = 7;
const BYTE_CODER: u8 = 8;
const ADAPTER: u8 = 9;
const PRIME: u8 = 10;
const FIRST_OPTIONAL: u8 = 128;

/// The most bytes a block takes beside its body: tag, length, checksum.
pub(crate) const MOST_EXTRA_BYTES: u64 = 1 + 10 + 4;

/// What the frames of a member are coded with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// For frames coded with a language model.
    pub language: Option<LanguageDescriptor>,
    /// For frames coded by a byte coder other than the format's own.
    pub byte_coder: Option<Record>,
}

/// The parts that code tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanguageDescriptor {
    /// Model and engine.
    pub model: ModelIdentity,
    /// First 16 bytes of the tokenizer's fingerprint.
    pub tokenizer: [u8; 16],
    /// How tokens are laid out over lanes and steps.
    pub schedule: Record,
    /// How tokens are coded.
    pub coder: Record,
    /// Text that every lane is fed before its first token; empty for none.
    pub prime: Vec<u8>,
}

/// The part of a tokenizer's fingerprint that a descriptor holds.
pub fn tokenizer_prefix(fingerprint: Fingerprint) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix.copy_from_slice(&fingerprint.0[..16]);
    prefix
}

impl Descriptor {
    /// The whole block, as block `number` of its member.
    pub(crate) fn to_block(&self, number: u64) -> Vec<u8> {
        let mut block = vec![DESCRIPTOR_TAG];
        put_bytes(&mut block, &self.to_body());
        let crc = block_crc(number, &block);
        block.extend_from_slice(&crc.to_le_bytes());
        block
    }

    fn to_body(&self) -> Vec<u8> {
        self.body_with(prime::to_field)
    }

    /// The body with the content of its prime's field as `prime_field` makes it.
    fn body_with(&self, prime_field: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let mut body = Vec::new();
        let mut field = |tag: u8, bytes: &[u8]| {
            body.push(tag);
            put_bytes(&mut body, bytes);
        };
        if let Some(language) = &self.language {
            field(MODEL_NAME, language.model.name.as_bytes());
            field(MODEL_FINGERPRINT, &language.model.fingerprint.0);
            field(ENGINE, &record_bytes(&language.model.engine));
            if let Exactness::SameMachineKind(kind) = &language.model.exactness {
                field(MACHINE_KIND, kind.as_bytes());
            }
            field(TOKENIZER, &language.tokenizer);
            field(SCHEDULE, &record_bytes(&language.schedule));
            field(CODER, &record_bytes(&language.coder));
        }
        if let Some(record) = &self.byte_coder {
            field(BYTE_CODER, &record_bytes(record));
        }
        if let Some(adapter) = self.language.as_ref().and_then(|l| l.model.adapter) {
            field(ADAPTER, &adapter.0);
        }
        if let Some(language) = self.language.as_ref().filter(|l| !l.prime.is_empty()) {
            field(PRIME, &prime_field(&language.prime));
        }
        body
    }

    /// XXH3 of what decides how text is decoded: the body without the model's name, with the prime
    /// as it is. Zstandard's other versions make other bytes of a prime, and the two sides of a
    /// channel need not have the same one.
    pub(crate) fn identity(&self) -> u64 {
        let mut nameless = self.clone();
        if let Some(language) = &mut nameless.language {
            language.model.name.clear();
        }
        content_hash(&nameless.body_with(prime::to_stored_field))
    }

    /// Whether `body` is a list of fields, whatever they hold: found out in at most 255 steps.
    pub(crate) fn has_fields(body: &[u8]) -> bool {
        let mut reader = ByteReader::new(body);
        let mut last = 0;
        while !reader.is_at_end() {
            match (reader.byte(), reader.bytes()) {
                (Ok(tag), Ok(_)) if tag > last => last = tag,
                _ => return false,
            }
        }
        true
    }

    /// Reads the body of a descriptor block.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self> {
        Fields::read(body).map_err(|what| Error::Descriptor { what })?.into_descriptor()
    }
}

/// The fields as found, before it is known that they make a whole.
#[derive(Default)]
struct Fields {
    model_name: Option<String>,
    model_fingerprint: Option<Fingerprint>,
    engine: Option<Record>,
    machine_kind: Option<String>,
    tokenizer: Option<[u8; 16]>,
    schedule: Option<Record>,
    coder: Option<Record>,
    byte_coder: Option<Record>,
    adapter: Option<Fingerprint>,
    prime: Vec<u8>,
}

impl Fields {
    fn read(body: &[u8]) -> Result<Self, String> {
        let mut reader = ByteReader::new(body);
        let mut fields = Self::default();
        let mut last = 0;
        while !reader.is_at_end() {
            let tag = reader.byte().map_err(short)?;
            let bytes = reader.bytes().map_err(short)?;
            if tag <= last {
                return Err(format!("field {tag} after field {last}; tags must ascend from 1"));
            }
            last = tag;
            match tag {
                MODEL_NAME => fields.model_name = Some(text(bytes)?),
                MODEL_FINGERPRINT => fields.model_fingerprint = Some(fingerprint(bytes)?),
                ENGINE => fields.engine = Some(record_from(bytes)?),
                MACHINE_KIND => fields.machine_kind = Some(text(bytes)?),
                TOKENIZER => {
                    fields.tokenizer = Some(bytes.try_into().map_err(|_| {
                        format!("a tokenizer's hash has 16 bytes, found {}", bytes.len())
                    })?);
                }
                SCHEDULE => fields.schedule = Some(record_from(bytes)?),
                CODER => fields.coder = Some(record_from(bytes)?),
                BYTE_CODER => fields.byte_coder = Some(record_from(bytes)?),
                ADAPTER => fields.adapter = Some(fingerprint(bytes)?),
                PRIME => fields.prime = prime::from_field(bytes)?,
                FIRST_OPTIONAL.. => {}
                _ => return Err(format!("field {tag} is unknown; a newer finezip wrote it")),
            }
        }
        Ok(fields)
    }

    fn into_descriptor(self) -> Result<Descriptor> {
        let byte_coder = self.byte_coder;
        let language = match (
            self.model_name,
            self.model_fingerprint,
            self.engine,
            self.tokenizer,
            self.schedule,
            self.coder,
        ) {
            (None, None, None, None, None, None) if self.prime.is_empty() => None,
            (
                Some(name),
                Some(fingerprint),
                Some(engine),
                Some(tokenizer),
                Some(schedule),
                Some(coder),
            ) => Some(LanguageDescriptor {
                model: ModelIdentity {
                    name,
                    fingerprint,
                    engine,
                    adapter: self.adapter,
                    exactness: self
                        .machine_kind
                        .map_or(Exactness::Everywhere, Exactness::SameMachineKind),
                },
                tokenizer,
                schedule,
                coder,
                prime: self.prime,
            }),
            _ => {
                return Err(Error::Descriptor {
                    what: "it names only some of model, hash, engine, tokenizer, schedule, coder"
                        .into(),
                });
            }
        };
        Ok(Descriptor { language, byte_coder })
    }
}

fn short(short: Short) -> String {
    match short {
        Short::End => "it ends within a field".into(),
        Short::Varint => "a number in it is not a varint in its shortest form".into(),
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a name in it is not UTF-8".into())
}

fn fingerprint(bytes: &[u8]) -> Result<Fingerprint, String> {
    bytes
        .try_into()
        .map(Fingerprint)
        .map_err(|_| format!("a fingerprint has 32 bytes, found {}", bytes.len()))
}

/// A record: name, version, then each parameter's key and value until the end of the field.
fn record_bytes(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, record.name.as_bytes());
    put_varint(&mut out, u64::from(record.version));
    for (key, &value) in &record.parameters {
        put_bytes(&mut out, key.as_bytes());
        put_varint(&mut out, value);
    }
    out
}

fn record_from(bytes: &[u8]) -> Result<Record, String> {
    let mut reader = ByteReader::new(bytes);
    let name = text(reader.bytes().map_err(short)?)?;
    let version = reader.varint().map_err(short)?;
    let version = u32::try_from(version).map_err(|_| format!("version {version} of {name}"))?;
    let mut record = Record::new(name, version);
    while !reader.is_at_end() {
        let key = text(reader.bytes().map_err(short)?)?;
        let value = reader.varint().map_err(short)?;
        if record.parameters.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(format!("parameter {key} of {} is out of order", record.name));
        }
        record.parameters.insert(key, value);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        (
            "[a-z-]{0,12}",
            any::<u32>(),
            prop::collection::btree_map("[a-z]{1,8}", any::<u64>(), 0..5),
        )
            .prop_map(|(name, version, parameters)| Record { name, version, parameters })
    }

    prop_compose! {
        fn descriptor()(
            name in ".{0,20}",
            hash in any::<[u8; 32]>(),
            adapter in prop::option::of(any::<[u8; 32]>()),
            records in [record(), record(), record()],
            kind in prop::option::of(".{0,20}"),
            tokenizer in any::<[u8; 16]>(),
            with_language in any::<bool>(),
            byte_coder in prop::option::of(record()),
            prime in prop::collection::vec(any::<u8>(), 0..200),
        ) -> Descriptor {
            let [engine, schedule, coder] = records;
            let language = with_language.then_some(LanguageDescriptor {
                model: ModelIdentity {
                    name,
                    fingerprint: Fingerprint(hash),
                    engine,
                    adapter: adapter.map(Fingerprint),
                    exactness: kind.map_or(Exactness::Everywhere, Exactness::SameMachineKind),
                },
                tokenizer,
                schedule,
                coder,
                prime,
            });
            Descriptor { language, byte_coder }
        }
    }

    proptest! {
        #[test]
        fn descriptors_come_back(descriptor in descriptor()) {
            let body = descriptor.to_body();
            prop_assert!(Descriptor::has_fields(&body));
            prop_assert!(body.is_empty() || !Descriptor::has_fields(&body[..body.len() - 1]));
            prop_assert_eq!(Descriptor::from_body(&body).unwrap(), descriptor);
        }

        #[test]
        fn any_bytes_are_a_descriptor_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Descriptor::from_body(&bytes).is_err() || Descriptor::has_fields(&bytes));
        }
    }

    #[test]
    fn optional_fields_are_passed_over_and_others_refused() {
        assert_eq!(Descriptor::from_body(&[200, 2, 1, 2]).unwrap(), Descriptor::default());
        assert!(Descriptor::from_body(&[100, 2, 1, 2]).is_err());
        assert!(Descriptor::from_body(&[200, 0, 200, 0]).is_err());
    }
}
