/*
 * Properties: which values fit, and which of them are more than an entry in
 * the dataset's list. Both is the ioctl layer's work in a kernel.
 */
#include "internal.h"

#include <string.h>
#include <sys/dsl_crypt.h>
#include <sys/zfeature.h>
#include <sys/zio_checksum.h>
#include <sys/zio_compress.h>
#include <zfs_prop.h>

static int
check_user_property(const zs_property_t *property)
{
	if (!zfs_prop_user(property->name)) {
		/* Quotas of users live in the ZPL, which is not here. */
		return (zfs_prop_userquota(property->name) ? ENOTSUP : EINVAL);
	}
	if (property->text == NULL)
		return (EINVAL);
	if (strlen(property->name) >= ZAP_MAXNAMELEN)
		return (ENAMETOOLONG);
	return (strlen(property->text) >= ZAP_MAXVALUELEN ? E2BIG : 0);
}

/* The feature without which the pool could not keep what the value asks for. */
static spa_feature_t
feature_of(zfs_prop_t known, uint64_t number)
{
	switch (known) {
	case ZFS_PROP_COMPRESSION:
		switch (ZIO_COMPRESS_ALGO(number)) {
		case ZIO_COMPRESS_LZ4:
			return (SPA_FEATURE_LZ4_COMPRESS);
		case ZIO_COMPRESS_ZSTD:
			return (SPA_FEATURE_ZSTD_COMPRESS);
		default:
			return (SPA_FEATURE_NONE);
		}
	case ZFS_PROP_CHECKSUM:
	case ZFS_PROP_DEDUP:
		return (zio_checksum_to_feature(number & ZIO_CHECKSUM_MASK));
	case ZFS_PROP_RECORDSIZE:
		return (number > SPA_OLD_MAXBLOCKSIZE ?
		    SPA_FEATURE_LARGE_BLOCKS : SPA_FEATURE_NONE);
	case ZFS_PROP_DNODESIZE:
		return (number != ZFS_DNSIZE_LEGACY ?
		    SPA_FEATURE_LARGE_DNODE : SPA_FEATURE_NONE);
	default:
		return (SPA_FEATURE_NONE);
	}
}

static int
check_number(const char *dataset, zfs_prop_t known, uint64_t number)
{
	const char *word;
	spa_t *spa;

	if (zfs_prop_get_type(known) == PROP_TYPE_INDEX &&
	    zfs_prop_index_to_string(known, number, &word) != 0)
		return (ZFS_ERR_BADPROP);
	if (known == ZFS_PROP_RECORDSIZE &&
	    number > (uint64_t)zfs_max_recordsize)
		return (ERANGE);
	spa_feature_t feature = feature_of(known, number);
	if (feature == SPA_FEATURE_NONE)
		return (0);
	int error = spa_open(dataset, &spa, FTAG);
	if (error == 0) {
		if (!spa_feature_is_enabled(spa, feature))
			error = ENOTSUP;
		spa_close(spa, FTAG);
	}
	return (error);
}

static int
check_property(const char *dataset, const zs_property_t *property)
{
	zfs_prop_t known = zfs_name_to_prop(property->name);

	if (known == ZPROP_USERPROP)
		return (check_user_property(property));
	/* The size of a volume is a property of its content. */
	if (zfs_prop_readonly(known) ||
	    (zfs_prop_setonce(known) && known != ZFS_PROP_VOLSIZE))
		return (EINVAL);
	if ((zfs_prop_get_type(known) == PROP_TYPE_STRING) !=
	    (property->text != NULL))
		return (EINVAL);
	if (property->text != NULL)
		return (strlen(property->text) >= ZAP_MAXVALUELEN ? E2BIG : 0);
	return (check_number(dataset, known, property->number));
}

/*
 * Does what a property needs besides its entry, or all of it: then there is
 * nothing left to do, and *done is set.
 */
static int
set_special(const char *dataset, zprop_source_t source,
    const zs_property_t *property, boolean_t *done)
{
	uint64_t number = property->number;

	*done = B_TRUE;
	switch (zfs_name_to_prop(property->name)) {
	case ZFS_PROP_QUOTA:
		return (dsl_dir_set_quota(dataset, source, number));
	case ZFS_PROP_REFQUOTA:
		return (dsl_dataset_set_refquota(dataset, source, number));
	case ZFS_PROP_RESERVATION:
		return (dsl_dir_set_reservation(dataset, source, number));
	case ZFS_PROP_REFRESERVATION:
		return (dsl_dataset_set_refreservation(dataset, source,
		    number));
	case ZFS_PROP_VOLSIZE:
		return (zs_set_volume_size(dataset, number));
	case ZFS_PROP_VERSION:
		/* An upgrade of the ZPL, which is not here. */
		return (ENOTSUP);
	default:
		break;
	}
	*done = B_FALSE;
	switch (zfs_name_to_prop(property->name)) {
	case ZFS_PROP_FILESYSTEM_LIMIT:
	case ZFS_PROP_SNAPSHOT_LIMIT:
		return (number == UINT64_MAX ? 0 :
		    dsl_dir_activate_fs_ss_limit(dataset));
	case ZFS_PROP_KEYLOCATION:
		return (dsl_crypto_can_set_keylocation(dataset,
		    property->text));
	case ZFS_PROP_COMPRESSION:
		return (dsl_dataset_set_compression(dataset, source, number));
	default:
		return (0);
	}
}

static int
set_one(const char *dataset, zprop_source_t source,
    const zs_property_t *property)
{
	boolean_t done;

	int error = check_property(dataset, property);
	if (error == 0)
		error = set_special(dataset, source, property, &done);
	if (error != 0 || done)
		return (error);
	if (property->text != NULL)
		return (dsl_prop_set_string(dataset, property->name, source,
		    property->text));
	return (dsl_prop_set_int(dataset, property->name, source,
	    property->number));
}

/* These would keep the data itself out, or need it. */
static boolean_t
after_data(const char *name)
{
	zfs_prop_t known = zfs_name_to_prop(name);

	return (known == ZFS_PROP_REFQUOTA || known == ZFS_PROP_KEYLOCATION ||
	    known == ZFS_PROP_VOLSIZE);
}

int
zs_set_from(const char *dataset, zprop_source_t source,
    zs_properties_t properties, zs_phase_t phase, zs_items_t refused)
{
	int first = 0;

	for (size_t i = 0; i < properties.count; i++) {
		const zs_property_t *property = &properties.at[i];

		if (phase != ZS_ANY_PHASE && after_data(property->name) !=
		    (phase == ZS_AFTER_DATA))
			continue;
		int error = set_one(dataset, source, property);
		/* A quota and its reservation may have come in the wrong order. */
		if (error == ENOSPC || error == ERANGE)
			error = set_one(dataset, source, property);
		if (error != 0) {
			refused.take(refused.context, property->name,
			    (uint64_t)error);
			if (first == 0)
				first = error;
		}
	}
	return (first);
}

int
zs_set_properties(const char *dataset, zs_properties_t properties,
    zs_items_t refused)
{
	if (zs_check_dataset(dataset) != 0)
		return (EINVAL);
	/* Not to be reported once for each property. */
	int error = zs_exists(dataset);
	if (error != 0)
		return (error);
	return (zs_set_from(dataset, ZPROP_SRC_LOCAL, properties, ZS_ANY_PHASE,
	    refused));
}
