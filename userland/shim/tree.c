/*
 * Datasets and everything that belongs to them, at one moment: the pool's
 * configuration is held during the whole walk.
 */
#include "internal.h"

#include <string.h>
#include <sys/dsl_bookmark.h>
#include <sys/dsl_crypt.h>

/* A property is told if it was set here and could be set elsewhere. */
static void
walk_properties(const char *name, nvlist_t *all, const zs_walk_t *walk)
{
	for (nvpair_t *pair = nvlist_next_nvpair(all, NULL); pair != NULL;
	    pair = nvlist_next_nvpair(all, pair)) {
		zs_property_t property = { .name = nvpair_name(pair) };
		zfs_prop_t known = zfs_name_to_prop(property.name);
		nvlist_t *entry;
		const char *source;

		if (known == ZPROP_USERPROP ? !zfs_prop_user(property.name) :
		    (zfs_prop_readonly(known) || zfs_prop_setonce(known)))
			continue;
		if (nvpair_value_nvlist(pair, &entry) != 0 ||
		    nvlist_lookup_string(entry, ZPROP_SOURCE,
		    (void *)&source) != 0 ||
		    (strcmp(source, name) != 0 &&
		    strcmp(source, ZPROP_SOURCE_VAL_RECVD) != 0))
			continue;
		if (nvlist_lookup_string(entry, ZPROP_VALUE,
		    (void *)&property.text) != 0) {
			property.text = NULL;
			if (nvlist_lookup_uint64(entry, ZPROP_VALUE,
			    &property.number) != 0)
				continue;
		}
		walk->property(walk->context, &property);
	}
}

static int
walk_snapshots(dsl_pool_t *pool, objset_t *os, const zs_walk_t *walk)
{
	char name[ZFS_MAX_DATASET_NAME_LEN];
	uint64_t object, position = 0;
	int error;

	while ((error = dmu_snapshot_list_next(os, sizeof (name), name,
	    &object, &position, NULL)) == 0) {
		dsl_dataset_t *snapshot;

		/* Snapshots of a running send or receive; they are not for us. */
		if (name[0] == '%')
			continue;
		error = dsl_dataset_hold_obj(pool, object, FTAG, &snapshot);
		if (error != 0)
			return (error);
		dsl_dataset_phys_t *phys = dsl_dataset_phys(snapshot);
		zs_point_t point = {
			.name = name,
			.guid = phys->ds_guid,
			.createtxg = phys->ds_creation_txg,
			.creation = phys->ds_creation_time,
			.holds = snapshot->ds_userrefs,
			/* The first child is what came next. */
			.clones = (phys->ds_num_children > 1 ?
			    phys->ds_num_children - 1 : 0),
		};
		if (dsl_get_written(snapshot, &point.written_bytes) != 0)
			point.written_bytes = phys->ds_referenced_bytes;
		/* Without encryption there may be no ZAP to look into. */
		if (snapshot->ds_dir->dd_crypto_obj != 0 &&
		    zap_lookup(pool->dp_meta_objset, object,
		    DS_FIELD_IVSET_GUID, 8, 1, &point.ivset) != 0)
			point.ivset = 0;
		walk->point(walk->context, 0, &point);
		dsl_dataset_rele(snapshot, FTAG);
	}
	return (error == ENOENT ? 0 : error);
}

/* The number that a bookmark's list has under `name`. */
static uint64_t
bookmark_number(nvlist_t *bookmark, zfs_prop_t name)
{
	nvlist_t *entry;
	uint64_t number = 0;

	if (nvlist_lookup_nvlist(bookmark, zfs_prop_to_name(name),
	    &entry) == 0)
		(void) nvlist_lookup_uint64(entry, ZPROP_VALUE, &number);
	return (number);
}

static int
walk_bookmarks(dsl_dataset_t *ds, const zs_walk_t *walk)
{
	nvlist_t *wanted = fnvlist_alloc();
	nvlist_t *found = fnvlist_alloc();

	fnvlist_add_boolean(wanted, zfs_prop_to_name(ZFS_PROP_GUID));
	fnvlist_add_boolean(wanted, zfs_prop_to_name(ZFS_PROP_CREATETXG));
	fnvlist_add_boolean(wanted, zfs_prop_to_name(ZFS_PROP_CREATION));
	fnvlist_add_boolean(wanted, zfs_prop_to_name(ZFS_PROP_IVSET_GUID));
	int error = dsl_get_bookmarks_impl(ds, wanted, found);
	for (nvpair_t *pair = nvlist_next_nvpair(found, NULL); pair != NULL;
	    pair = nvlist_next_nvpair(found, pair)) {
		nvlist_t *bookmark = fnvpair_value_nvlist(pair);

		zs_point_t point = {
			.name = nvpair_name(pair),
			.guid = bookmark_number(bookmark, ZFS_PROP_GUID),
			.createtxg = bookmark_number(bookmark,
			    ZFS_PROP_CREATETXG),
			.creation = bookmark_number(bookmark,
			    ZFS_PROP_CREATION),
			.ivset = bookmark_number(bookmark,
			    ZFS_PROP_IVSET_GUID),
		};
		walk->point(walk->context, 1, &point);
	}
	fnvlist_free(found);
	fnvlist_free(wanted);
	return (error);
}

static void
find_origin(dsl_pool_t *pool, dsl_dataset_t *ds, char *name)
{
	dsl_dataset_t *origin;

	name[0] = '\0';
	if (dsl_dir_is_clone(ds->ds_dir) && dsl_dataset_hold_obj(pool,
	    dsl_dir_phys(ds->ds_dir)->dd_origin_obj, FTAG, &origin) == 0) {
		dsl_dataset_name(origin, name);
		dsl_dataset_rele(origin, FTAG);
	}
}

static void
find_encryption(dsl_dataset_t *ds, nvlist_t *found, zs_dataset_t *dataset)
{
	nvlist_t *entry;
	uint64_t status = 0;

	dsl_dataset_crypt_stats(ds, found);
	if (nvlist_lookup_nvlist(found,
	    zfs_prop_to_name(ZFS_PROP_ENCRYPTION_ROOT), &entry) == 0)
		(void) nvlist_lookup_string(entry, ZPROP_VALUE,
		    (void *)&dataset->encryption_root);
	if (nvlist_lookup_nvlist(found,
	    zfs_prop_to_name(ZFS_PROP_KEYSTATUS), &entry) == 0)
		(void) nvlist_lookup_uint64(entry, ZPROP_VALUE, &status);
	dataset->key_loaded = (status == ZFS_KEYSTATUS_AVAILABLE);
}

/* As `receive_resume_token` shows it, or NULL. */
static char *
find_token(dsl_dataset_t *ds)
{
#if ZS_VERSION < 20200
	char *token = get_receive_resume_stats_impl(ds);
	if (token[0] == '\0') {
		kmem_strfree(token);
		token = get_child_receive_stats(ds);
	}
	if (token[0] == '\0') {
		kmem_strfree(token);
		token = NULL;
	}
	return (token);
#else
	return (get_receive_resume_token(ds));
#endif
}

static int
walk_one(dsl_pool_t *pool, const char *name, dsl_dataset_t *ds, objset_t *os,
    const zs_walk_t *walk)
{
	zs_dataset_t dataset = {
		.name = name,
		.volume = (dmu_objset_type(os) == DMU_OST_ZVOL),
		.guid = dsl_dataset_phys(ds)->ds_guid,
	};
	char origin[ZFS_MAX_DATASET_NAME_LEN];
	nvlist_t *properties, *encryption;

	if (dsl_get_written(ds, &dataset.written_bytes) != 0)
		dataset.written_bytes =
		    dsl_dataset_phys(ds)->ds_referenced_bytes;
	/* A volume that is only being received may have no size yet. */
	if (dataset.volume && zap_lookup(os, ZS_VOLUME_ZAP, "size", 8, 1,
	    &dataset.volume_bytes) != 0)
		dataset.volume_bytes = 0;
	find_origin(pool, ds, origin);
	dataset.origin = (origin[0] != '\0' ? origin : NULL);
	int error = dsl_prop_get_all(os, &properties);
	if (error != 0)
		return (error);

	encryption = fnvlist_alloc();
	find_encryption(ds, encryption, &dataset);
	char *token = find_token(ds);
	dataset.resume_token = token;
	walk->dataset(walk->context, &dataset);
	if (token != NULL)
		kmem_strfree(token);
	fnvlist_free(encryption);

	walk_properties(name, properties, walk);
	fnvlist_free(properties);
	error = walk_snapshots(pool, os, walk);
	if (error == 0)
		error = walk_bookmarks(ds, walk);
	return (error);
}

static int
walk_tree(dsl_pool_t *pool, const char *name, int recursive,
    const zs_walk_t *walk)
{
	dsl_dataset_t *ds;
	objset_t *os;
	uint64_t object, position = 0;

	int error = dsl_dataset_hold(pool, name, FTAG, &ds);
	if (error != 0)
		return (error);
	error = dmu_objset_from_ds(ds, &os);
	if (error == 0)
		error = walk_one(pool, name, ds, os, walk);
	while (error == 0 && recursive) {
		char child[ZFS_MAX_DATASET_NAME_LEN];
		char whole[ZFS_MAX_DATASET_NAME_LEN];

		error = dmu_dir_list_next(os, sizeof (child), child, &object,
		    &position);
		if (error == 0 && child[0] != '%' && child[0] != '$') {
			if (snprintf(whole, sizeof (whole), "%s/%s", name,
			    child) >= sizeof (whole))
				error = ENAMETOOLONG;
			else
				error = walk_tree(pool, whole, recursive, walk);
			/* This one was there: it has not just been missed. */
			if (error == ENOENT)
				error = EIO;
		} else if (error == ENOENT) {
			error = 0;
			break;
		}
	}
	dsl_dataset_rele(ds, FTAG);
	return (error);
}

int
zs_tree(const char *root, int recursive, const zs_walk_t *walk)
{
	dsl_pool_t *pool;

	int error = zs_check_dataset(root);
	if (error != 0)
		return (error);
	error = dsl_pool_hold(root, FTAG, &pool);
	if (error != 0)
		return (error);
	error = walk_tree(pool, root, recursive, walk);
	dsl_pool_rele(pool, FTAG);
	return (error);
}
