/*
 * Datasets, and the content of volumes.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/dmu_recv.h>
#include <sys/dsl_destroy.h>
#include <sys/zfeature.h>

/* How much of a volume is read or written in one piece, bytes. */
static const size_t piece_bytes = 1 << 20;

/* In 2.4 dmu_write() has flags, and a clone is a dataset's business. */
#if ZS_VERSION >= 20400
#define	ZS_WRITE(os, object, offset, size, data, tx)	\
	dmu_write(os, object, offset, size, data, tx, 0)
#define	ZS_CLONE	dsl_dataset_clone
#else
#define	ZS_WRITE	dmu_write
#define	ZS_CLONE	dmu_objset_clone
#endif

/* dmu_tx_assign(): waits until there is room in a transaction group. */
#if defined(TXG_WAIT)
#define	ZS_WAIT	TXG_WAIT
#else
#define	ZS_WAIT	DMU_TX_WAIT
#endif

typedef struct new_volume {
	uint64_t bytes;
	uint64_t block_bytes;
} new_volume_t;

/* What a kernel puts into a new volume. */
static void
volume_content(objset_t *os, void *argument, cred_t *cr, dmu_tx_t *tx)
{
	new_volume_t *volume = argument;

	(void) cr;
	VERIFY0(dmu_object_claim(os, ZS_VOLUME_DATA, DMU_OT_ZVOL,
	    volume->block_bytes, DMU_OT_NONE, 0, tx));
	VERIFY0(zap_create_claim(os, ZS_VOLUME_ZAP, DMU_OT_ZVOL_PROP,
	    DMU_OT_NONE, 0, tx));
	VERIFY0(zap_update(os, ZS_VOLUME_ZAP, "size", 8, 1, &volume->bytes,
	    tx));
}

int
zs_create_volume(const char *name, uint64_t bytes, uint64_t block_bytes)
{
	new_volume_t volume = { bytes, block_bytes };
	spa_t *spa;

	if (zs_check_dataset(name) != 0)
		return (EINVAL);
	if (block_bytes < SPA_MINBLOCKSIZE || !ISP2(block_bytes) ||
	    block_bytes > (uint64_t)zfs_max_recordsize)
		return (EDOM);
	if (bytes == 0 || bytes > INT64_MAX || bytes % block_bytes != 0)
		return (EINVAL);
	if (block_bytes > SPA_OLD_MAXBLOCKSIZE) {
		int error = spa_open(name, &spa, FTAG);
		if (error != 0)
			return (error);
		boolean_t known =
		    spa_feature_is_enabled(spa, SPA_FEATURE_LARGE_BLOCKS);
		spa_close(spa, FTAG);
		if (!known)
			return (ENOTSUP);
	}
	return (dmu_objset_create(name, DMU_OST_ZVOL, 0, NULL, volume_content,
	    &volume));
}

int
zs_destroy_dataset(const char *name)
{
	char child[ZFS_MAX_DATASET_NAME_LEN];

	if (zs_check_dataset_or_receive(name) != 0)
		return (EINVAL);
	int error = dsl_destroy_head(name);
	if (error != EEXIST || strchr(name, '%') != NULL)
		return (error);
	/* The child that is in the way may be the rest of a cut receive. */
	if (snprintf(child, sizeof (child), "%s/%s", name, recv_clone_name) >=
	    sizeof (child))
		return (error);
	int of_child = dsl_destroy_head(child);
	if (of_child == 0)
		return (dsl_destroy_head(name));
	return (of_child == ENOENT ? error : of_child);
}

int
zs_rename_dataset(const char *from, const char *to)
{
	if (zs_check_dataset(from) != 0 || zs_check_dataset(to) != 0)
		return (EINVAL);
	return (dsl_dir_rename(from, to));
}

int
zs_clone(const char *origin, const char *name)
{
	if (zs_check_snapshot(origin) != 0 || zs_check_dataset(name) != 0)
		return (EINVAL);
	return (ZS_CLONE(name, origin));
}

int
zs_rollback(const char *dataset, const char *to)
{
	if (zs_check_dataset(dataset) != 0 || zs_check_snapshot(to) != 0)
		return (EINVAL);
	nvlist_t *result = fnvlist_alloc();
	int error = dsl_dataset_rollback(dataset, to, NULL, result);
	fnvlist_free(result);
	return (error);
}

int
zs_set_volume_size(const char *name, uint64_t bytes)
{
	objset_t *os;
	dmu_object_info_t info;

	int error = dmu_objset_own(name, DMU_OST_ZVOL, B_FALSE, B_TRUE, FTAG,
	    &os);
	if (error != 0)
		return (error);
	error = dmu_object_info(os, ZS_VOLUME_DATA, &info);
	if (error == 0 && (bytes == 0 || bytes > INT64_MAX ||
	    bytes % info.doi_data_block_size != 0))
		error = EINVAL;
	if (error == 0) {
		dmu_tx_t *tx = dmu_tx_create(os);
		dmu_tx_hold_zap(tx, ZS_VOLUME_ZAP, TRUE, NULL);
		dmu_tx_mark_netfree(tx);
		error = dmu_tx_assign(tx, ZS_WAIT);
		if (error != 0) {
			dmu_tx_abort(tx);
		} else {
			uint64_t txg = dmu_tx_get_txg(tx);
			error = zap_update(os, ZS_VOLUME_ZAP, "size", 8, 1,
			    &bytes, tx);
			dmu_tx_commit(tx);
			txg_wait_synced(dmu_objset_pool(os), txg);
		}
	}
	if (error == 0)
		error = dmu_free_long_range(os, ZS_VOLUME_DATA, bytes,
		    DMU_OBJECT_END);
	dmu_objset_disown(os, B_TRUE, FTAG);
	return (error);
}

static int
volume_size(objset_t *os, uint64_t *bytes)
{
	if (dmu_objset_type(os) != DMU_OST_ZVOL)
		return (EINVAL);
	return (zap_lookup(os, ZS_VOLUME_ZAP, "size", 8, 1, bytes));
}

/* Reads until the buffer is full or nothing more comes. */
static int
fill(int from, char *buffer, size_t size, size_t *got)
{
	*got = 0;
	while (*got < size) {
		ssize_t n = read(from, buffer + *got, size - *got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return (errno);
		if (n == 0)
			break;
		*got += n;
	}
	return (0);
}

static int
write_piece(objset_t *os, uint64_t offset, size_t size, const char *data)
{
	dmu_tx_t *tx = dmu_tx_create(os);

	dmu_tx_hold_write(tx, ZS_VOLUME_DATA, offset, size);
	int error = dmu_tx_assign(tx, ZS_WAIT);
	if (error != 0) {
		dmu_tx_abort(tx);
		return (error);
	}
	ZS_WRITE(os, ZS_VOLUME_DATA, offset, size, data, tx);
	dmu_tx_commit(tx);
	return (0);
}

/*
 * Writes those blocks of a piece that differ from what is there, so that the
 * next increment holds what has changed and no more, and holes stay holes.
 */
static int
write_changes(objset_t *os, uint64_t offset, size_t size, const char *data,
    char *there, size_t block)
{
	size_t from = 0;

	/* What cannot be read is replaced, whatever it was. */
	boolean_t known = dmu_read(os, ZS_VOLUME_DATA, offset, size, there,
	    DMU_READ_PREFETCH) == 0;
	while (from < size) {
		size_t to = from;

		while (to < size && !(known &&
		    memcmp(data + to, there + to, MIN(block, size - to)) == 0))
			to += MIN(block, size - to);
		if (to > from) {
			int error = write_piece(os, offset + from, to - from,
			    data + from);
			if (error != 0)
				return (error);
		}
		from = to + MIN(block, size - to);
	}
	return (0);
}

int
zs_write_volume(const char *name, uint64_t offset, int from, uint64_t *written)
{
	objset_t *os;
	dmu_object_info_t info;
	uint64_t bytes;

	*written = 0;
	if (zs_check_dataset(name) != 0)
		return (EINVAL);
	int error = dmu_objset_own(name, DMU_OST_ZVOL, B_FALSE, B_TRUE, FTAG,
	    &os);
	if (error != 0)
		return (error);
	char *piece = malloc(piece_bytes);
	char *there = malloc(piece_bytes);
	if (piece == NULL || there == NULL)
		error = ENOMEM;
	if (error == 0)
		error = volume_size(os, &bytes);
	if (error == 0)
		error = dmu_object_info(os, ZS_VOLUME_DATA, &info);
	if (error == 0 && offset % info.doi_data_block_size != 0)
		error = EINVAL;
	if (error == 0 && offset > bytes)
		error = ENOSPC;
	for (;;) {
		size_t size, room;

		if (error == 0)
			error = fill(from, piece, piece_bytes, &size);
		if (error != 0 || size == 0)
			break;
		room = MIN((uint64_t)size, bytes - (offset + *written));
		if (room != 0)
			error = write_changes(os, offset + *written, room,
			    piece, there, info.doi_data_block_size);
		if (error == 0)
			*written += room;
		if (error == 0 && room < size)
			error = ENOSPC;
	}
	if (error == 0)
		txg_wait_synced(dmu_objset_pool(os), 0);
	free(there);
	free(piece);
	dmu_objset_disown(os, B_TRUE, FTAG);
	return (error);
}

/* Writes all of it; EINTR if the reader went away, as a send has it. */
static int
drain(int into, const char *data, size_t size)
{
	while (size != 0) {
		ssize_t n = write(into, data, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return (errno == EPIPE ? EINTR : errno);
		data += n;
		size -= n;
	}
	return (0);
}

/* With a long hold: the volume cannot go, and other readers may come. */
static int
hold_volume(const char *name, dsl_dataset_t **ds, objset_t **os)
{
	dsl_pool_t *pool;

	int error = dsl_pool_hold(name, FTAG, &pool);
	if (error != 0)
		return (error);
	error = dsl_dataset_hold_flags(pool, name, DS_HOLD_FLAG_DECRYPT,
	    (void *)zs_read_volume, ds);
	if (error == 0) {
		error = dmu_objset_from_ds(*ds, os);
		if (error == 0)
			dsl_dataset_long_hold(*ds, (void *)zs_read_volume);
		else
			dsl_dataset_rele_flags(*ds, DS_HOLD_FLAG_DECRYPT,
			    (void *)zs_read_volume);
	}
	dsl_pool_rele(pool, FTAG);
	return (error);
}

int
zs_read_volume(const char *name, uint64_t offset, int into, uint64_t *read)
{
	dsl_dataset_t *ds;
	objset_t *os;
	uint64_t bytes, at = offset;

	*read = 0;
	if (zs_check_dataset(name) != 0 && zs_check_snapshot(name) != 0)
		return (EINVAL);
	int error = hold_volume(name, &ds, &os);
	if (error != 0)
		return (error);
	char *piece = malloc(piece_bytes);
	if (piece == NULL)
		error = ENOMEM;
	if (error == 0)
		error = volume_size(os, &bytes);
	while (error == 0 && at < bytes) {
		size_t size = MIN((uint64_t)piece_bytes, bytes - at);

		dmu_prefetch(os, ZS_VOLUME_DATA, 0, at + size, piece_bytes,
		    ZIO_PRIORITY_ASYNC_READ);
		error = dmu_read(os, ZS_VOLUME_DATA, at, size, piece,
		    DMU_READ_PREFETCH);
		if (error == 0)
			error = drain(into, piece, size);
		if (error == 0)
			at += size;
	}
	*read = at - offset;
	free(piece);
	dsl_dataset_long_rele(ds, (void *)zs_read_volume);
	dsl_dataset_rele_flags(ds, DS_HOLD_FLAG_DECRYPT,
	    (void *)zs_read_volume);
	return (error);
}
