//! The exact bytes, and what is refused.

use super::*;

fn listpack(elements: &[&[u8]]) -> Listpack {
    let mut listpack = Listpack::new();
    for element in elements {
        listpack.push_back(element);
    }
    listpack
}

/// Without header and end.
fn encoded(element: &[u8]) -> Vec<u8> {
    let listpack = listpack(&[element]);
    assert_eq!(listpack.get(HEADER_BYTES), *element);
    assert_eq!(listpack.last(), Some(HEADER_BYTES));
    listpack.as_bytes()[HEADER_BYTES..listpack.end()].to_vec()
}

#[test]
fn elements_are_encoded_as_redis_does() {
    let mut all = Listpack::new();
    assert_eq!(all.as_bytes(), [7, 0, 0, 0, 0, 0, 0xFF]);
    assert_eq!(all.memory_bytes(), 0);
    all.push_back(b"hi");
    all.push_back(b"300");
    assert_eq!(
        all.as_bytes(),
        [14, 0, 0, 0, 2, 0, 0x82, b'h', b'i', 3, 0xC1, 0x2C, 2, 0xFF]
    );
    assert_eq!(encoded(b""), [0x80, 1]);
    assert_eq!(encoded(b"127"), [0x7F, 1]);
    assert_eq!(encoded(b"128"), [0xC0, 0x80, 2]);
    assert_eq!(encoded(b"-1"), [0xDF, 0xFF, 2]);
    assert_eq!(encoded(b"4095"), [0xCF, 0xFF, 2]);
    assert_eq!(encoded(b"-4096"), [0xD0, 0, 2]);
    assert_eq!(encoded(b"4096"), [0xF1, 0, 0x10, 3]);
    assert_eq!(encoded(b"-32768"), [0xF1, 0, 0x80, 3]);
    assert_eq!(encoded(b"32768"), [0xF2, 0, 0x80, 0, 4]);
    assert_eq!(encoded(b"-8388608"), [0xF2, 0, 0, 0x80, 4]);
    assert_eq!(encoded(b"8388608"), [0xF3, 0, 0, 0x80, 0, 5]);
    assert_eq!(encoded(b"2147483648"), [0xF4, 0, 0, 0, 0x80, 0, 0, 0, 0, 9]);
    assert_eq!(encoded(b"-9223372036854775808")[..2], [0xF4, 0]);
    assert_eq!(encoded(b"9223372036854775808")[0], 0x80 | 19);
    assert_eq!(encoded(b"007"), [0x83, b'0', b'0', b'7', 4]);
}

#[test]
fn many_at_once_are_encoded_as_one_by_one() {
    let long = vec![b'x'; 5000];
    let elements: [&[u8]; 8] = [
        b"",
        b"7",
        b"-7",
        b"300",
        b"-70000",
        b"x",
        &long[..64],
        &long,
    ];
    let mut all = listpack(&[b"before"]);
    all.push_back_all(|put| {
        elements
            .iter()
            .for_each(|element| put(Element::of(element)))
    });
    let mut one_by_one = listpack(&[b"before"]);
    elements
        .iter()
        .for_each(|element| one_by_one.push_back(element));
    assert_eq!(all.as_bytes(), one_by_one.as_bytes());
    all.push_back_all(|_| {});
    assert_eq!(all.as_bytes(), one_by_one.as_bytes());
    let mut none = Listpack::new();
    none.push_back_all(|_| {});
    assert_eq!(none.memory_bytes(), 0);
}

#[test]
fn lengths_change_their_encoding_where_redis_does() {
    for (length, head, back) in [
        (63, 1, 1),
        (64, 2, 1),
        (125, 2, 1),
        (126, 2, 2),
        (4095, 2, 2),
        (4096, 5, 2),
        (16_377, 5, 2),
        (16_378, 5, 3),
        (2_097_145, 5, 3),
        (2_097_146, 5, 4),
    ] {
        let data = vec![b'x'; length];
        assert_eq!(encoded(&data).len(), head + length + back, "{length}");
    }
}

#[test]
fn positions_lead_to_both_ends() {
    let pack = listpack(&[b"a", b"1", b"-5000", &[b'x'; 5000], b"z"]);
    let forth: Vec<Vec<u8>> = pack.iter().map(|element| element.to_vec()).collect();
    let mut back: Vec<Vec<u8>> = pack.iter().rev().map(|element| element.to_vec()).collect();
    back.reverse();
    assert_eq!(forth, back);
    for index in 0..5isize {
        let pos = pack.seek(index).expect("inside");
        assert_eq!(pack.seek(index - 5), Some(pos));
        assert_eq!(pack.get(pos), *forth[index as usize]);
        assert_eq!(pack.iter_from(pos).count(), 5 - index as usize);
        assert_eq!(pack.iter_before(pos).count(), index as usize);
    }
    for index in [5, -6, isize::MAX, isize::MIN] {
        assert_eq!(pack.seek(index), None);
    }
    assert_eq!(Listpack::new().seek(0), None);
    assert_eq!(Listpack::new().seek(-1), None);
    assert_eq!(Listpack::new().first(), None);
    assert_eq!(Listpack::new().last(), None);
}

#[test]
fn find_skips_values() {
    let pack = listpack(&[b"f1", b"f2", b"f2", b"12", b"12", b"x"]);
    let first = pack.first().expect("not empty");
    let at = |index| pack.seek(index);
    assert_eq!(pack.find(first, b"f2", 0), at(1));
    assert_eq!(pack.find(first, b"f2", 1), at(2));
    assert_eq!(pack.find(first, b"12", 0), at(3));
    assert_eq!(pack.find(first, b"12", 1), at(4));
    assert_eq!(pack.find(first, b"x", 1), None);
    assert_eq!(pack.find(first, b"", 0), None);
    assert_eq!(pack.find(pack.end(), b"x", 0), None);
}

#[test]
fn many_elements_are_counted() {
    let mut pack = Builder::with_capacity(0);
    for number in 0..70_000 {
        pack.push_int(number % 10);
    }
    let mut pack = pack.finish();
    assert_eq!(pack.len(), 70_000);
    assert_eq!(pack.seek(-1), pack.last());
    assert_eq!(pack.seek(69_999), pack.last());
    assert_eq!(
        Listpack::from_bytes(pack.as_bytes()).map(|p| p.len()),
        Ok(70_000)
    );
    pack.remove_range(HEADER_BYTES, 10_000);
    assert_eq!(pack.len(), 60_000);
    pack.push_back(b"x");
    assert_eq!(pack.len(), 60_001);
    pack.truncate(3);
    assert_eq!(pack.len(), 3);
    assert_eq!(pack.as_bytes(), [13, 0, 0, 0, 3, 0, 0, 1, 1, 1, 2, 1, 0xFF]);
}

#[test]
fn hostile_bytes_are_refused() {
    let good = listpack(&[b"a", b"77", &[b'x'; 100], b"-70000"]);
    let bytes = good.as_bytes();
    assert!(Listpack::from_bytes(bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(Listpack::from_bytes(&bytes[..length]).is_err());
        let mut short = bytes[..length].to_vec();
        if let Some(total) = short.first_chunk_mut() {
            *total = (length as u32).to_le_bytes();
        }
        assert!(Listpack::from_bytes(&short).is_err(), "{length}");
    }
    // Whatever a wrong byte makes of them, what is accepted can be walked and has the right count.
    for at in 0..bytes.len() {
        for byte in 0..=255 {
            let mut wrong = bytes.to_vec();
            wrong[at] = byte;
            if let Ok(pack) = Listpack::from_bytes(&wrong) {
                assert_eq!(pack.iter().count(), pack.len());
                assert_eq!(pack.iter().rev().count(), pack.len());
            }
        }
    }
    let unknown = [9, 0, 0, 0, 0xFF, 0xFF, 5, 1, 0xFF];
    assert_eq!(Listpack::from_bytes(&unknown).map(|p| p.len()), Ok(1));
    assert!(Listpack::from_bytes(&[7, 0, 0, 0, 0, 0, 0xFF]).is_ok_and(|p| p.is_empty()));
    assert!(Listpack::from_bytes(&[7, 0, 0, 0, 1, 0, 0xFF]).is_err());
    let huge = [13, 0, 0, 0, 1, 0, 0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0xFF];
    assert!(Listpack::from_bytes(&huge).is_err());
}

#[test]
fn the_last_element_takes_the_allocation_along() {
    let mut pack = listpack(&[b"only"]);
    assert_eq!(pack.memory_bytes(), 16);
    assert_eq!(pack.remove(HEADER_BYTES), None);
    assert_eq!((pack.memory_bytes(), pack.len()), (0, 0));
    let mut pack = listpack(&[b"a", b"b"]);
    pack.retain(|_| false);
    assert_eq!((pack.memory_bytes(), pack.len()), (0, 0));
}
