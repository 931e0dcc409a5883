/*
 * Streams: send, its estimate, and receive.
 */
#include "internal.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <sys/dmu_recv.h>
#include <sys/dmu_send.h>
#include <sys/dsl_bookmark.h>

/*
 * The first record of a stream. Its definition is not among the installed
 * headers; the format does not change.
 */
typedef struct begin_record {
	uint32_t type;
	uint32_t payload_bytes;
	uint64_t magic;
	uint64_t version_and_features;
	uint64_t creation_time;
	uint32_t objset_type;
	uint32_t flags;
	uint64_t to_guid;
	uint64_t from_guid;
	char to_name[256];
} begin_record_t;

_Static_assert(sizeof (begin_record_t) == ZS_BEGIN_BYTES,
    "the first record of a stream has 312 bytes");

/*
 * Largest payload of the first record, bytes: lists of redaction snapshots
 * and keys, some KiB. libzfs has the same limit.
 */
static const uint32_t begin_payload_bytes_max = 64 << 20;

/* What every stream begins with (DMU_BACKUP_MAGIC), by the sender's order. */
static const uint64_t begin_magic = 0x2F5bacbacULL;

/* ---- send ---- */

typedef struct sink {
	int fd;
	/* What ended the stream; the library itself only says EINTR. */
	int error;
} sink_t;

static int
into_descriptor(objset_t *os, void *data, int size, void *argument)
{
	sink_t *sink = argument;
	char *next = data;

	(void) os;
	while (size > 0) {
		ssize_t n = write(sink->fd, next, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			sink->error = errno;
			return (errno);
		}
		next += n;
		size -= n;
	}
	return (0);
}

static int
add_up(objset_t *os, void *data, int size, void *argument)
{
	uint64_t *bytes = argument;

	(void) os, (void) data;
	*bytes += size;
	return (0);
}

static int
check_request(const zs_send_t *request)
{
	if (zs_check_snapshot(request->snapshot) != 0)
		return (EINVAL);
	if (request->base != NULL && zs_check_snapshot(request->base) != 0 &&
	    zs_check_bookmark(request->base) != 0)
		return (EINVAL);
	return (0);
}

static int
send_into(const zs_send_t *request, int fd, dmu_send_outparams_t *out)
{
	offset_t offset = 0;

	return (dmu_send(request->snapshot, request->base,
	    request->embed_data ? B_TRUE : B_FALSE,
	    request->large_block ? B_TRUE : B_FALSE,
	    request->compress ? B_TRUE : B_FALSE,
	    request->raw ? B_TRUE : B_FALSE, B_FALSE, request->resume_object,
	    request->resume_offset, NULL, fd, &offset, out));
}

int
zs_send(const zs_send_t *request, int into)
{
	sink_t sink = { into, 0 };
	dmu_send_outparams_t out = {
		.dso_outfunc = into_descriptor,
		.dso_arg = &sink,
		.dso_dryrun = B_FALSE,
	};

	int error = check_request(request);
	if (error != 0)
		return (error);
	error = send_into(request, into, &out);
	if (error != 0 && sink.error != 0)
		error = (sink.error == EPIPE ? EINTR : sink.error);
	return (error);
}

/* Whether an estimate from `base` needs the whole walk; or why it cannot be. */
static int
look_at_base(dsl_pool_t *pool, const char *base, dsl_dataset_t *snapshot,
    dsl_dataset_t **from, zfs_bookmark_phys_t *mark, boolean_t *walk)
{
	int error;

	*from = NULL;
	*walk = B_FALSE;
	if (strchr(base, '#') != NULL) {
		error = dsl_bookmark_lookup(pool, base, snapshot, mark);
		if (error == EXDEV && mark->zbm_redaction_obj != 0 &&
		    mark->zbm_guid == dsl_dataset_phys(snapshot)->ds_guid)
			error = 0;
		*walk = mark->zbm_redaction_obj != 0 ||
		    !(mark->zbm_flags & ZBM_FLAG_HAS_FBN);
		return (error);
	}
	error = dsl_dataset_hold(pool, base, FTAG, from);
	if (error == 0 && !dsl_dataset_is_before(snapshot, *from, 0)) {
		dsl_dataset_rele(*from, FTAG);
		*from = NULL;
		*walk = B_TRUE;
	}
	return (error);
}

int
zs_send_size(const zs_send_t *request, uint64_t *bytes)
{
	dsl_pool_t *pool;
	dsl_dataset_t *snapshot, *from = NULL;
	zfs_bookmark_phys_t mark = { 0 };
	boolean_t from_mark = (request->base != NULL &&
	    strchr(request->base, '#') != NULL);
	/* What is left of a cut stream is known only after a walk. */
	boolean_t walk = (request->resume_object != 0 ||
	    request->resume_offset != 0);

	*bytes = 0;
	int error = check_request(request);
	if (error != 0)
		return (error);
	error = dsl_pool_hold(request->snapshot, FTAG, &pool);
	if (error != 0)
		return (error);
	error = dsl_dataset_hold(pool, request->snapshot, FTAG, &snapshot);
	if (error != 0) {
		dsl_pool_rele(pool, FTAG);
		return (error);
	}
	if (!walk && request->base != NULL)
		error = look_at_base(pool, request->base, snapshot, &from,
		    &mark, &walk);
	if (error == 0 && !walk)
		error = dmu_send_estimate_fast(snapshot, from,
		    from_mark ? &mark : NULL,
		    (request->compress || request->raw) ? B_TRUE : B_FALSE,
		    B_FALSE, bytes);
	if (from != NULL)
		dsl_dataset_rele(from, FTAG);
	dsl_dataset_rele(snapshot, FTAG);
	dsl_pool_rele(pool, FTAG);

	if (error == 0 && walk) {
		dmu_send_outparams_t out = {
			.dso_outfunc = add_up,
			.dso_arg = bytes,
			.dso_dryrun = B_TRUE,
		};
		error = send_into(request, -1, &out);
	}
	return (error);
}

/* ---- receive ---- */

/* Bytes of somebody else that the library takes as they are. */
static int
check_begin(const begin_record_t *begin)
{
	boolean_t swapped = (begin->magic == BSWAP_64(begin_magic));

	if (!swapped && begin->magic != begin_magic)
		return (EINVAL);
	uint32_t payload = swapped ? BSWAP_32(begin->payload_bytes) :
	    begin->payload_bytes;
	if (payload > begin_payload_bytes_max)
		return (E2BIG);
	if (memchr(begin->to_name, '\0', sizeof (begin->to_name)) == NULL)
		return (EINVAL);
	return (0);
}

static boolean_t
is_among(const char *name, zs_properties_t properties)
{
	for (size_t i = 0; i < properties.count; i++) {
		if (strcmp(properties.at[i].name, name) == 0)
			return (B_TRUE);
	}
	return (B_FALSE);
}

/*
 * New received properties replace the old ones of the dataset. One that has
 * never received any has all its own replaced, as in a kernel.
 */
static void
clear_received(const char *dataset, zs_properties_t kept)
{
	nvlist_t *old;
	boolean_t before = dsl_prop_get_hasrecvd(dataset);
	zprop_source_t source = ZPROP_SRC_NONE |
	    (before ? ZPROP_SRC_RECEIVED : 0);

	if (dsl_prop_get_received(dataset, &old) != 0)
		return;
	for (nvpair_t *pair = nvlist_next_nvpair(old, NULL); pair != NULL;
	    pair = nvlist_next_nvpair(old, pair)) {
		const char *name = nvpair_name(pair);

		if (before && is_among(name, kept))
			continue;
		switch (zfs_name_to_prop(name)) {
		case ZFS_PROP_QUOTA:
			(void) dsl_dir_set_quota(dataset, source, 0);
			break;
		case ZFS_PROP_REFQUOTA:
			(void) dsl_dataset_set_refquota(dataset, source, 0);
			break;
		case ZFS_PROP_RESERVATION:
			(void) dsl_dir_set_reservation(dataset, source, 0);
			break;
		case ZFS_PROP_REFRESERVATION:
			(void) dsl_dataset_set_refreservation(dataset, source,
			    0);
			break;
		default:
			(void) dsl_prop_inherit(dataset, name, source);
			break;
		}
	}
	fnvlist_free(old);
}

static int
set_both(const char *dataset, const zs_receive_t *request, zs_phase_t phase,
    zs_items_t refused)
{
	int error = 0;

	if (request->received.count != 0) {
		error = dsl_prop_set_hasrecvd(dataset);
		if (error != 0)
			return (error);
		(void) zs_set_from(dataset, ZPROP_SRC_RECEIVED,
		    request->received, phase, refused);
	}
	(void) zs_set_from(dataset, ZPROP_SRC_LOCAL, request->local, phase,
	    refused);
	return (0);
}

/*
 * A new dataset gets its properties before its data, which is then stored
 * accordingly, and goes with them if the receive fails. One that exists gets
 * them when the stream has arrived: so a receive that fails has changed none,
 * while a kernel sets them first and has to undo that.
 */
int
zs_receive(const zs_receive_t *request, int from, zs_items_t refused)
{
	begin_record_t begin;
	dmu_recv_cookie_t cookie;
	zfs_file_t file = { .f_fd = from, .f_dump_fd = -1 };
	char dataset[ZFS_MAX_DATASET_NAME_LEN];
	offset_t offset = 0;

	if (zs_check_snapshot(request->snapshot) != 0 ||
	    (request->origin != NULL &&
	    zs_check_snapshot(request->origin) != 0))
		return (EINVAL);
	memcpy(&begin, request->begin, sizeof (begin));
	int error = check_begin(&begin);
	if (error != 0)
		return (error);
	(void) strcpy(dataset, request->snapshot);
	char *at = strchr(dataset, '@');
	*at = '\0';

#if ZS_VERSION < 20200
	error = dmu_recv_begin(dataset, at + 1,
	    (struct dmu_replay_record *)&begin, B_FALSE,
	    request->resumable ? B_TRUE : B_FALSE, NULL, NULL,
	    ZS_NAME(request->origin), &cookie, &file, &offset);
#else
	error = dmu_recv_begin(dataset, at + 1,
	    (struct dmu_replay_record *)&begin, B_FALSE, B_FALSE,
	    request->resumable ? B_TRUE : B_FALSE, NULL, NULL,
	    request->origin, &cookie, &file, &offset);
#endif
	if (error != 0)
		return (error);
	boolean_t new = cookie.drc_newfs;
	/* Once begun it is carried on to its end, whatever happens here. */
	int of_properties = 0;
	if (new)
		of_properties = set_both(dataset, request, ZS_BEFORE_DATA,
		    refused);
	error = dmu_recv_stream(&cookie, &offset);
	if (error != 0)
		return (error);
	error = dmu_recv_end(&cookie, NULL);
	if (error != 0)
		return (error);
	if (!new && request->received.count != 0)
		clear_received(dataset, request->received);
	if (of_properties == 0)
		of_properties = set_both(dataset, request,
		    new ? ZS_AFTER_DATA : ZS_ANY_PHASE, refused);
	return (of_properties);
}
