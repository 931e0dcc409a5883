/*
 * A small interface over libzpool: what the worker asks of it, in types that do
 * not change with its version.
 *
 * Every function returns 0 or an errno (OpenZFS' own numbers above 1024
 * included). All may be called from several threads at once, except zs_start,
 * zs_create and zs_import, which come first and once. Names are checked here,
 * as the ioctl layer does in a kernel: EINVAL for a bad or too long one.
 * Strings that are handed to a callback are valid until it returns.
 */
#ifndef ZPOOL_SHIM_H
#define	ZPOOL_SHIM_H

#include <stddef.h>
#include <stdint.h>

/* Longest name of a dataset or snapshot, with the final NUL. */
#define	ZS_NAME_BYTES	256
/* Length of the first record of a stream. */
#define	ZS_BEGIN_BYTES	312

/* A list of names. */
typedef struct zs_names {
	const char *const *at;
	size_t count;
} zs_names_t;

/* A property; `text` is NULL if the value is the number. */
typedef struct zs_property {
	const char *name;
	const char *text;
	uint64_t number;
} zs_property_t;

typedef struct zs_properties {
	const zs_property_t *at;
	size_t count;
} zs_properties_t;

/* Takes what a function says about one object: a number, or an errno. */
typedef void zs_item_f(void *context, const char *name, uint64_t value);

typedef struct zs_items {
	zs_item_f *take;
	void *context;
} zs_items_t;

/* ---- pool.c ---- */

/* What the labels of an image say. */
typedef struct zs_label {
	char pool[ZS_NAME_BYTES];
	/* Nonzero if this libzpool is too old for the pool. */
	int newer;
	/* Nonzero if the pool has other vdevs than this file. */
	int several_vdevs;
	/* Smallest size of the file that holds the whole vdev, bytes. */
	uint64_t bytes_min;
} zs_label_t;

/*
 * Starts the library. `cache_bytes` bounds the ARC, and half of it what waits
 * to be written; 0 leaves the defaults.
 */
void zs_start(uint64_t cache_bytes);
/* Makes a pool in the file at the absolute path `image`. */
int zs_create(const char *pool, const char *image, uint64_t *guid);
/* Reads the labels of the file behind `image`; ENOENT if there are none. */
int zs_read_label(int image, zs_label_t *label);
/* Imports the pool whose only vdev is the file; ENOTSUP if it is newer. */
int zs_import(const char *pool, const char *image, uint64_t *guid);
/* The same after an import that stopped at an account of destroyed data. */
int zs_import_and_write_off(const char *pool, const char *image,
    uint64_t *guid);
/* Exports it; EBUSY while something is in use. */
int zs_export(const char *pool);
/* Sizes in bytes. */
int zs_space(const char *pool, uint64_t *total, uint64_t *allocated);

typedef struct zs_scrub {
	uint64_t examined_bytes;
	uint64_t repaired_bytes;
	uint64_t errors;
} zs_scrub_t;

/* Scrubs to the end; ECANCELED if the scrub was stopped. */
int zs_scrub(const char *pool, zs_scrub_t *result);

/* ---- tree.c ---- */

typedef struct zs_dataset {
	const char *name;
	/* 1 for a volume, 0 for a file system. */
	int volume;
	uint64_t guid;
	uint64_t written_bytes;
	uint64_t volume_bytes;
	/* These are NULL where there is nothing to say. */
	const char *origin;
	const char *encryption_root;
	const char *resume_token;
	int key_loaded;
} zs_dataset_t;

/* A snapshot, or the snapshot that a bookmark remembers. */
typedef struct zs_point {
	const char *name;
	uint64_t guid;
	uint64_t createtxg;
	uint64_t creation;
	/* Of a snapshot: bytes since the one before, holds, clones. */
	uint64_t written_bytes;
	uint64_t holds;
	uint64_t clones;
	/* Identity of the encrypted blocks, 0 without encryption. */
	uint64_t ivset;
} zs_point_t;

/* What a walk through a tree finds, each dataset before what belongs to it. */
typedef struct zs_walk {
	void *context;
	void (*dataset)(void *context, const zs_dataset_t *dataset);
	void (*property)(void *context, const zs_property_t *property);
	void (*point)(void *context, int bookmark, const zs_point_t *point);
} zs_walk_t;

/* Everything at one moment; ENOENT if `root` does not exist. */
int zs_tree(const char *root, int recursive, const zs_walk_t *walk);

/* ---- dataset.c ---- */

/* EINVAL if this is not the name of a dataset. */
int zs_check_dataset(const char *name);
int zs_create_volume(const char *name, uint64_t bytes, uint64_t block_bytes);
/* Also `fs/%recv`; takes such a state along with its dataset. */
int zs_destroy_dataset(const char *name);
int zs_rename_dataset(const char *from, const char *to);
int zs_clone(const char *origin, const char *name);
int zs_rollback(const char *dataset, const char *to);
/*
 * From `image`'s end of a pipe or file into the volume; synced at the end.
 * Blocks that hold the same already are not written.
 */
int zs_write_volume(const char *name, uint64_t offset, int from,
    uint64_t *written);
/* From `offset` to the end; nothing if that lies behind it. */
int zs_read_volume(const char *name, uint64_t offset, int into, uint64_t *read);

/* ---- property.c ---- */

/* Sets what it can; each refused property goes to `refused` with its errno. */
int zs_set_properties(const char *dataset, zs_properties_t properties,
    zs_items_t refused);

/* ---- snapshot.c ---- */

int zs_snapshot(zs_names_t names, zs_items_t errors);
int zs_destroy_snapshots(zs_names_t names, zs_items_t errors);
/* The topmost dataset has to have it; descendants without it are skipped. */
int zs_rename_snapshot(const char *dataset, const char *from, const char *to,
    int recursive);
/* A missing snapshot is an item (ENOENT), and the others are held. */
int zs_hold(zs_names_t names, const char *tag, int temporary,
    zs_items_t errors);
int zs_release(zs_names_t names, const char *tag, zs_items_t errors);
int zs_holds(const char *snapshot, zs_items_t tags_and_times);

/* ---- bookmark.c ---- */

/* `of.at[i]` gets the bookmark `marks.at[i]`. */
int zs_bookmark(zs_names_t of, zs_names_t marks, zs_items_t errors);
int zs_destroy_bookmarks(zs_names_t names, zs_items_t errors);

/* ---- stream.c ---- */

typedef struct zs_send {
	const char *snapshot;
	/* Snapshot or bookmark; NULL for a full stream. */
	const char *base;
	int embed_data;
	int large_block;
	int compress;
	int raw;
	uint64_t resume_object;
	uint64_t resume_offset;
} zs_send_t;

/* EINTR if the reader went away; another error of writing as it is. */
int zs_send(const zs_send_t *request, int into);
int zs_send_size(const zs_send_t *request, uint64_t *bytes);

typedef struct zs_receive {
	/* What exists afterwards. */
	const char *snapshot;
	/* ZS_BEGIN_BYTES. */
	const uint8_t *begin;
	/* NULL, or where a clone comes from. */
	const char *origin;
	int resumable;
	zs_properties_t received;
	zs_properties_t local;
} zs_receive_t;

/* Never forced. `refused` takes the properties that could not be set. */
int zs_receive(const zs_receive_t *request, int from, zs_items_t refused);

/* ---- token.c ---- */

typedef struct zs_token {
	char to_name[ZS_NAME_BYTES];
	uint64_t to_guid;
	uint64_t from_guid;
	int incremental;
	uint64_t object;
	uint64_t offset;
	uint64_t bytes;
	int embed_data;
	int large_block;
	int compress;
	int raw;
} zs_token_t;

/* EINVAL if the text is no resume token. */
int zs_read_token(const char *text, zs_token_t *token);

#endif /* ZPOOL_SHIM_H */
