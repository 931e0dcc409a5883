//! The content of volumes.

use std::fs::File;
use std::io::Read;
use std::thread;

use rustix::io::Errno;
use userland::protocol::{Answer, Call};

use super::{MIB, claims, noise};

claims! {
    fn a_volume_reads_back_what_was_written_and_zeroes_elsewhere(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", 4 * MIB);
        assert_eq!(pool.read("tank/v"), vec![0; 4 * MIB as usize]);
        // An end within a block, and a beginning in the middle of the volume.
        let data = noise(1, MIB as usize + 12_345);
        pool.write("tank/v", 2 * MIB, data.clone());
        let mut whole = vec![0; 4 * MIB as usize];
        whole[2 * MIB as usize..][..data.len()].copy_from_slice(&data);
        assert_eq!(pool.read("tank/v"), whole);
        assert_eq!(pool.dataset("tank/v").volume_bytes, 4 * MIB);
        // What is behind an overwritten part stays.
        pool.write("tank/v", 2 * MIB, vec![7; 100]);
        whole[2 * MIB as usize..][..100].fill(7);
        assert_eq!(pool.read("tank/v"), whole);
    }

    fn a_write_stops_at_the_end_of_the_volume(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", MIB);
        pool.write("tank/v", 0, noise(2, MIB as usize));
        let full = Errno::NOSPC.raw_os_error();
        let fault = pool.try_write("tank/v", 0, vec![1; MIB as usize + 1]).unwrap_err();
        assert_eq!(fault.errno, full);
        assert_eq!(pool.read("tank/v"), vec![1; MIB as usize]);
        assert_eq!(pool.try_write("tank/v", 2 * MIB, vec![1]).unwrap_err().errno, full);
        assert_eq!(pool.try_write("tank/v", MIB, Vec::new()).unwrap(), 0);
        let invalid = Errno::INVAL.raw_os_error();
        assert_eq!(pool.try_write("tank/v", 100, vec![1]).unwrap_err().errno, invalid);
    }

    fn a_full_pool_refuses_a_write_and_stays_usable(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", 512 * MIB);
        let fault = pool.try_write("tank/v", 0, noise(3, 160 * MIB as usize)).unwrap_err();
        assert_eq!(fault.errno, Errno::NOSPC.raw_os_error());
        pool.call(Call::DestroyDataset { name: "tank/v".to_owned() });
        pool.volume("tank/w", MIB);
        pool.write("tank/w", 0, noise(4, MIB as usize));
        assert_eq!(pool.read("tank/w"), noise(4, MIB as usize));
    }

    fn snapshots_of_volumes_are_read_and_not_written(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", MIB);
        pool.write("tank/v", 0, noise(5, MIB as usize));
        pool.snapshot("tank/v@a");
        pool.write("tank/v", 0, noise(6, MIB as usize));
        assert_eq!(pool.read("tank/v@a"), noise(5, MIB as usize));
        assert_eq!(pool.read("tank/v"), noise(6, MIB as usize));
        let fault = pool.try_write("tank/v@a", 0, vec![1]).unwrap_err();
        assert_eq!(fault.errno, Errno::INVAL.raw_os_error());
    }

    fn what_is_no_volume_is_neither_read_nor_written(lab: &Lab) {
        let pool = lab.create("tank");
        pool.filesystem("tank/fs");
        assert_eq!(
            pool.try_write("tank/fs", 0, vec![1]).unwrap_err().errno,
            Errno::INVAL.raw_os_error()
        );
        assert_eq!(
            pool.try_write("tank/none", 0, vec![1]).unwrap_err().errno,
            Errno::NOENT.raw_os_error()
        );
        for (name, errno) in [
            ("tank/fs", Errno::INVAL),
            ("tank/none", Errno::NOENT),
            ("tank/fs@none", Errno::NOENT),
            ("tank//fs", Errno::INVAL),
        ] {
            let sink = File::create(lab.folder.join("sink")).unwrap();
            let call = Call::ReadVolume { name: name.to_owned(), offset: 0 };
            let fault = pool.try_with(call, Some(sink.into())).unwrap_err();
            assert_eq!(fault.errno, errno.raw_os_error(), "{name}");
        }
        let call = Call::ReadVolume { name: "tank/v".to_owned(), offset: 0 };
        assert_eq!(pool.errno(call), Errno::BADF.raw_os_error());
    }

    fn a_reader_that_goes_away_ends_a_read_with_eintr(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", 8 * MIB);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let taker = thread::spawn(move || reader.read_exact(&mut [0; 100]));
        let call = Call::ReadVolume { name: "tank/v".to_owned(), offset: 0 };
        let fault = pool.try_with(call, Some(writer.into())).unwrap_err();
        taker.join().unwrap().unwrap();
        assert_eq!(fault.errno, Errno::INTR.raw_os_error());
        // Nothing holds the volume afterwards.
        assert_eq!(pool.call(Call::DestroyDataset { name: "tank/v".to_owned() }), Answer::Done);
    }

    fn a_snapshot_that_is_being_read_cannot_be_destroyed(lab: &Lab) {
        let pool = lab.create("tank");
        pool.volume("tank/v", 8 * MIB);
        pool.snapshot("tank/v@a");
        let (mut reader, writer) = std::io::pipe().unwrap();
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let call = Call::ReadVolume { name: "tank/v@a".to_owned(), offset: 0 };
                pool.try_with(call, Some(writer.into()))
            });
            reader.read_exact(&mut [0; 100]).unwrap();
            let destroy = Call::DestroySnapshots { names: vec!["tank/v@a".to_owned()] };
            let fault = pool.fault(destroy);
            assert_eq!(fault.errno, Errno::BUSY.raw_os_error());
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert_eq!(reading.join().unwrap().unwrap(), Answer::Bytes(8 * MIB));
        });
    }

    fn sizes_that_no_volume_may_have_are_refused(lab: &Lab) {
        let pool = lab.create("tank");
        let create = |bytes, block_bytes| {
            pool.errno(Call::CreateVolume {
                name: "tank/v".to_owned(),
                bytes,
                block_bytes,
                properties: Vec::new(),
            })
        };
        assert_eq!(create(0, 8192), Errno::INVAL.raw_os_error());
        assert_eq!(create(8191, 8192), Errno::INVAL.raw_os_error());
        assert_eq!(create(u64::MAX / 8192 * 8192, 8192), Errno::INVAL.raw_os_error());
        for block_bytes in [0, 1, 256, 3000, 1 << 40] {
            assert_eq!(create(MIB, block_bytes), Errno::DOM.raw_os_error(), "{block_bytes}");
        }
        assert_eq!(pool.find("tank/v"), None);
    }

    fn blocks_of_one_mib_work(lab: &Lab) {
        let pool = lab.create("tank");
        pool.call(Call::CreateVolume {
            name: "tank/v".to_owned(),
            bytes: 4 * MIB,
            block_bytes: MIB,
            properties: Vec::new(),
        });
        pool.write("tank/v", MIB, noise(8, 2 * MIB as usize));
        assert_eq!(pool.read("tank/v")[MIB as usize..][..2 * MIB as usize], noise(8, 2 << 20));
    }
}
