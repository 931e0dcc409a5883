/*
 * The pool and its only vdev, a file.
 */
#include "internal.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/arc_impl.h>
#include <sys/metaslab.h>
#include <sys/spa_impl.h>
#include <sys/stat.h>
#include <sys/vdev_impl.h>
#include <libzutil.h>
#include <zfs_namecheck.h>

/*
 * What a new pool has: the features of OpenZFS 2.1, the oldest version that
 * can still be met, but no livelists (see write_off). Any kernel from there on imports the image read-write. The
 * price: a stream that needs a newer feature (block sizes for directories,
 * long names) is refused with ENOTSUP, as such a kernel would.
 */
static const char *const features[] = {
	"allocation_classes", "async_destroy", "bookmark_v2",
	"bookmark_written", "bookmarks", "device_rebuild", "device_removal",
	"draid", "edonr", "embedded_data", "empty_bpobj", "enabled_txg",
	"encryption", "extensible_dataset", "filesystem_limits", "hole_birth",
	"large_blocks", "large_dnode", "log_spacemap",
	"lz4_compress", "multi_vdev_crash_dump", "obsolete_counts",
	"project_quota", "redacted_datasets", "redaction_bookmarks",
	"resilver_defer", "sha512", "skein", "spacemap_histogram",
	"spacemap_v2", "userobj_accounting", "zpool_checkpoint",
	"zstd_compress",
};
/* Their name; `zpool upgrade` keeps to it. */
static const char compatibility[] = "openzfs-2.1-linux";

/*
 * Sectors of 4 KiB: what the file system below the image writes in one piece.
 */
static const uint64_t ashift = 12;

void
zs_start(uint64_t cache_bytes)
{
	(void) signal(SIGPIPE, SIG_IGN);
	/* Below a device, so it can neither exist nor be made. */
	spa_config_path = (char *)("/dev/null/zpool.cache");
	/* Otherwise a tenth of the machine's memory. */
	zfs_dirty_data_max = cache_bytes / 2;
	/*
	 * In a process the library wants half of the machine's memory at least,
	 * and ignores a maximum below that: so the minimum is lowered as well.
	 */
	zfs_arc_min = cache_bytes / 2;
	zfs_arc_max = cache_bytes;
	kernel_init(SPA_MODE_READ | SPA_MODE_WRITE);
}

/*
 * A hostile stream can make a dataset whose blocks are fewer than its accounts
 * say (two WRITE records for one block will do). Nothing is wrong with any
 * content, but when the dataset is destroyed, a library with assertions stops
 * at the rest, each time. So the rest is written off: a kernel, which has no
 * assertions, loses it without a word. The switch for it is meant for blocks
 * that cannot be read, of which it writes off the space as well. Where a
 * livelist is being deleted it would take that for a rest: such pools, which
 * are not made here, do without it.
 */
static void
write_off(spa_t *spa)
{
	zfs_free_leak_on_eio =
	    !spa_feature_is_enabled(spa, SPA_FEATURE_LIVELIST);
}

/*
 * Nobody can mend a disk that is full or gone while the library waits for it:
 * the pool would be suspended, and every call with it, for ever. So the process
 * ends, and the client says so. This is for this process alone: the pool's
 * property stays, since it would end a kernel too.
 */
static int
settle(const char *pool, uint64_t *guid)
{
	spa_t *spa;
	int error = spa_open(pool, &spa, FTAG);

	if (error != 0)
		return (error);
	spa->spa_failmode = ZIO_FAILURE_MODE_PANIC;
	write_off(spa);
	*guid = spa_guid(spa);
	spa_close(spa, FTAG);
	return (0);
}

static nvlist_t *
pool_properties(void)
{
	nvlist_t *properties = fnvlist_alloc();

	fnvlist_add_string(properties,
	    zpool_prop_to_name(ZPOOL_PROP_CACHEFILE), "none");
	return (properties);
}

int
zs_create(const char *pool, const char *image, uint64_t *guid)
{
	if (pool_namecheck(pool, NULL, NULL) != 0 || image[0] != '/')
		return (EINVAL);

	nvlist_t *file = fnvlist_alloc();
	fnvlist_add_string(file, ZPOOL_CONFIG_TYPE, VDEV_TYPE_FILE);
	fnvlist_add_string(file, ZPOOL_CONFIG_PATH, image);
	fnvlist_add_uint64(file, ZPOOL_CONFIG_ASHIFT, ashift);
	nvlist_t *root = fnvlist_alloc();
	fnvlist_add_string(root, ZPOOL_CONFIG_TYPE, VDEV_TYPE_ROOT);
#if ZS_VERSION < 20200
	fnvlist_add_nvlist_array(root, ZPOOL_CONFIG_CHILDREN, &file, 1);
#else
	const nvlist_t *const children[] = { file };
	fnvlist_add_nvlist_array(root, ZPOOL_CONFIG_CHILDREN, children, 1);
#endif

	nvlist_t *properties = pool_properties();
	fnvlist_add_string(properties,
	    zpool_prop_to_name(ZPOOL_PROP_COMPATIBILITY), compatibility);
	for (size_t i = 0; i < sizeof (features) / sizeof (features[0]); i++) {
		char name[64];
		(void) snprintf(name, sizeof (name), "feature@%s", features[i]);
		fnvlist_add_uint64(properties, name, 0);
	}

	int error = spa_create(pool, root, properties, NULL, NULL);
	if (error == 0)
		error = settle(pool, guid);
	/*
	 * The root has no content that a kernel could mount: nobody shall try.
	 */
	if (error == 0)
		error = dsl_prop_set_int(pool,
		    zfs_prop_to_name(ZFS_PROP_CANMOUNT), ZPROP_SRC_LOCAL,
		    ZFS_CANMOUNT_OFF);
	fnvlist_free(properties);
	fnvlist_free(root);
	fnvlist_free(file);
	return (error);
}

/* The labels' list; ENOENT if there is none that can be read. */
static int
read_label(int image, nvlist_t **config)
{
	int labels = 0;

	*config = NULL;
	errno = 0;
	if (zpool_read_label(image, config, &labels) != 0)
		return (errno == 0 ? EIO : errno);
	if (*config == NULL)
		return (ENOENT);
	return (0);
}

int
zs_read_label(int image, zs_label_t *label)
{
	nvlist_t *config, *vdev;
	const char *pool, *type;
	uint64_t version, state, asize, vdevs = 1;

	int error = read_label(image, &config);
	if (error != 0)
		return (error);
	memset(label, 0, sizeof (*label));
	if (nvlist_lookup_string(config, ZPOOL_CONFIG_POOL_NAME,
	    (void *)&pool) != 0 || strlen(pool) >= sizeof (label->pool) ||
	    nvlist_lookup_uint64(config, ZPOOL_CONFIG_VERSION, &version) != 0 ||
	    nvlist_lookup_uint64(config, ZPOOL_CONFIG_POOL_STATE,
	    &state) != 0 || state > POOL_STATE_EXPORTED ||
	    nvlist_lookup_nvlist(config, ZPOOL_CONFIG_VDEV_TREE, &vdev) != 0 ||
	    nvlist_lookup_string(vdev, ZPOOL_CONFIG_TYPE, (void *)&type) != 0) {
		fnvlist_free(config);
		return (ENOENT);
	}
	(void) strcpy(label->pool, pool);
	label->newer = !SPA_VERSION_IS_SUPPORTED(version);
	(void) nvlist_lookup_uint64(config, ZPOOL_CONFIG_VDEV_CHILDREN, &vdevs);
	/* An image of a whole disk is as good. */
	label->several_vdevs = vdevs != 1 ||
	    (strcmp(type, VDEV_TYPE_FILE) != 0 &&
	    strcmp(type, VDEV_TYPE_DISK) != 0);
	if (nvlist_lookup_uint64(vdev, ZPOOL_CONFIG_ASIZE, &asize) == 0 &&
	    asize < INT64_MAX)
		label->bytes_min = asize + VDEV_LABEL_START_SIZE +
		    VDEV_LABEL_END_SIZE;
	fnvlist_free(config);
	return (0);
}

/* The list that an import takes, from the one in the labels. */
static int
import_config(const char *image, nvlist_t **made)
{
	nvlist_t *label, *vdev;
	uint64_t guid, version, state;
	const char *pool;

	int fd = open(image, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return (errno);
	int error = read_label(fd, &label);
	(void) close(fd);
	if (error != 0)
		return (error);
	if (nvlist_lookup_nvlist(label, ZPOOL_CONFIG_VDEV_TREE, &vdev) != 0 ||
	    nvlist_lookup_uint64(label, ZPOOL_CONFIG_POOL_GUID, &guid) != 0 ||
	    nvlist_lookup_uint64(label, ZPOOL_CONFIG_VERSION, &version) != 0 ||
	    nvlist_lookup_uint64(label, ZPOOL_CONFIG_POOL_STATE, &state) != 0 ||
	    nvlist_lookup_string(label, ZPOOL_CONFIG_POOL_NAME,
	    (void *)&pool) != 0) {
		fnvlist_free(label);
		return (ENOENT);
	}

	/* Where the file was before says nothing. */
	fnvlist_add_string(vdev, ZPOOL_CONFIG_PATH, image);
	(void) nvlist_remove_all(vdev, ZPOOL_CONFIG_DEVID);
	(void) nvlist_remove_all(vdev, ZPOOL_CONFIG_PHYS_PATH);

	nvlist_t *root = fnvlist_alloc();
	fnvlist_add_string(root, ZPOOL_CONFIG_TYPE, VDEV_TYPE_ROOT);
	fnvlist_add_uint64(root, ZPOOL_CONFIG_ID, 0);
	fnvlist_add_uint64(root, ZPOOL_CONFIG_GUID, guid);
#if ZS_VERSION < 20200
	fnvlist_add_nvlist_array(root, ZPOOL_CONFIG_CHILDREN, &vdev, 1);
#else
	const nvlist_t *const children[] = { vdev };
	fnvlist_add_nvlist_array(root, ZPOOL_CONFIG_CHILDREN, children, 1);
#endif

	nvlist_t *config = fnvlist_alloc();
	fnvlist_add_uint64(config, ZPOOL_CONFIG_VERSION, version);
	fnvlist_add_string(config, ZPOOL_CONFIG_POOL_NAME, pool);
	fnvlist_add_uint64(config, ZPOOL_CONFIG_POOL_STATE, state);
	fnvlist_add_uint64(config, ZPOOL_CONFIG_POOL_GUID, guid);
	fnvlist_add_uint64(config, ZPOOL_CONFIG_VDEV_CHILDREN, 1);
	fnvlist_add_nvlist(config, ZPOOL_CONFIG_VDEV_TREE, root);
	fnvlist_free(root);
	fnvlist_free(label);
	*made = config;
	return (0);
}

static int
import(const char *pool, const char *image)
{
	nvlist_t *config = NULL;

	if (pool_namecheck(pool, NULL, NULL) != 0 || image[0] != '/')
		return (EINVAL);
	int error = import_config(image, &config);
	if (error != 0)
		return (error);
	nvlist_t *properties = pool_properties();
	error = spa_import((char *)(uintptr_t)pool, config, properties,
	    ZFS_IMPORT_NORMAL);
	fnvlist_free(properties);
	fnvlist_free(config);
	return (error);
}

int
zs_import(const char *pool, const char *image, uint64_t *guid)
{
	int error = import(pool, image);

	return (error == 0 ? settle(pool, guid) : error);
}

/*
 * For an import that stopped at a rest: see write_off(). In a pool with
 * livelists this is right for as long as it takes, and only then.
 */
int
zs_import_and_write_off(const char *pool, const char *image, uint64_t *guid)
{
	spa_t *spa;
	boolean_t waited;

	zfs_free_leak_on_eio = 1;
	int error = import(pool, image);
	if (error == 0)
		error = spa_wait(pool, ZPOOL_WAIT_FREE, &waited);
	if (error == 0)
		error = spa_open(pool, &spa, FTAG);
	if (error == 0) {
		txg_wait_synced(spa_get_dsl(spa), 0);
		spa_close(spa, FTAG);
		error = settle(pool, guid);
	}
	return (error);
}

int
zs_export(const char *pool)
{
	return (spa_export(ZS_NAME(pool), NULL, B_FALSE, B_FALSE));
}

int
zs_space(const char *pool, uint64_t *total, uint64_t *allocated)
{
	spa_t *spa;
	int error = spa_open(pool, &spa, FTAG);

	if (error != 0)
		return (error);
	/* One vdev: there is no other class that could have space of its own. */
	spa_config_enter(spa, SCL_VDEV, FTAG, RW_READER);
	*total = metaslab_class_get_space(spa_normal_class(spa));
	*allocated = metaslab_class_get_alloc(spa_normal_class(spa));
	*total += metaslab_class_get_space(spa_embedded_log_class(spa));
	*allocated += metaslab_class_get_alloc(spa_embedded_log_class(spa));
	spa_config_exit(spa, SCL_VDEV, FTAG);
	spa_close(spa, FTAG);
	return (0);
}

int
zs_scrub(const char *pool, zs_scrub_t *result)
{
	spa_t *spa;
	pool_scan_stat_t stats;
	boolean_t waited;

	int error = spa_open(pool, &spa, FTAG);
	if (error != 0)
		return (error);
	/* EBUSY: one is running, perhaps since before a crash. It will do. */
	error = spa_scan(spa, POOL_SCAN_SCRUB);
	if (error == 0 || error == EBUSY)
		error = spa_wait(pool, ZPOOL_WAIT_SCRUB, &waited);
	if (error == 0) {
		memset(&stats, 0, sizeof (stats));
		error = spa_scan_get_stats(spa, &stats);
	}
	if (error == 0 && stats.pss_state != DSS_FINISHED)
		error = ECANCELED;
	if (error == 0) {
		result->examined_bytes = stats.pss_examined;
		result->repaired_bytes = stats.pss_processed;
		result->errors = stats.pss_errors;
	}
	spa_close(spa, FTAG);
	return (error);
}
